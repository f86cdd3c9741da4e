/** Lets TypeScript know what Vite imports besides code. */
declare module "*.css";
