import { defineConfig } from "vite";

// Everything is a file of its own and nothing is inlined: the page's content security policy allows no inline code.
export default defineConfig({
  base: "/",
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
    license: { fileName: "licences.txt" }, // what is built in asks that its licence goes along
  },
});
