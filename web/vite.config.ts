/** Builds the page into the edge's static files, without inline scripts or styles (the edge sends a strict CSP). */
import { defineConfig } from "vitest/config";

const edge = process.env.THRONG_EDGE ?? "http://127.0.0.1:8080";

export default defineConfig({
  root: import.meta.dirname,
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../edge/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/ws": { target: edge, ws: true },
      "/v1": { target: edge },
    },
  },
  test: {
    include: ["tests/**/*.test.ts", "tests/**/*.test.tsx"],
    environment: "node",
    testTimeout: 30_000,
    reporters: ["default", ["json", { outputFile: "../artifacts/report-vitest.json" }]],
  },
});
