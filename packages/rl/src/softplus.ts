/** log(1 + e^x) without overflow, in plain numbers. */
export const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
