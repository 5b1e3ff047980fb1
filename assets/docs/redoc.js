// A file of its own, because the page's Content-Security-Policy allows no script inside it.
const fonts = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"; // none are fetched
Redoc.init(
  "/api/v1/openapi.json",
  {
    expandResponses: "200,201",
    hideDownloadButtons: false,
    sortTagsAlphabetically: true,
    theme: { typography: { fontFamily: fonts, headings: { fontFamily: fonts } } },
  },
  document.getElementById("redoc"),
);
