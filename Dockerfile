# The image holds one file of ours, /igny8. Build and final stage are the same Debian, so that the C library matches.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
ENV SQLX_OFFLINE=true

# The dependencies in a layer of their own, made from the lock file and stub sources: it is built again only when one
# of these files changes. What the stubs left of our own crate is removed, or cargo could take it for the real one.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src benches \
    && touch src/lib.rs benches/ledger.rs benches/reads.rs benches/flood.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --profile dist --locked --bin igny8 \
    && cargo clean --profile dist --locked --package igny8 \
    && rm -r src benches

# .dockerignore lets in exactly the sources. .git stays outside, so the commit is told.
COPY . .
ARG GIT_COMMIT=unknown
RUN IGNY8_GIT_COMMIT="$GIT_COMMIT" cargo build --profile dist --locked --bin igny8 \
    && install -D target/dist/igny8 /out/igny8

# No shell, no package manager, not root. "cc" has libc, libm and libgcc_s, which is all that the binary asks for.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.revision="$GIT_COMMIT"
COPY --from=build /out/igny8 /igny8
ENV APP_ENV=production \
    BIND_ADDR=0.0.0.0:8010 \
    LOG_FORMAT=json
EXPOSE 8010
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["/igny8", "healthcheck"]
ENTRYPOINT ["/igny8"]
CMD ["serve"]
