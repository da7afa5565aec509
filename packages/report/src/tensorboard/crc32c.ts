/** CRC-32C (Castagnoli) and its masked form, as TFRecord files use them. */

/** The Castagnoli polynomial 0x1EDC6F41, bit-reversed. */
const POLYNOMIAL = 0x82f63b78;
/** Added to the rotated checksum so that a checksum of checksummed data stays meaningful. */
const MASK_DELTA = 0xa282ead8;

const TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C of `bytes`; "123456789" gives 0xE3069283. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The masked checksum of TFRecord: rotated right by 15, plus a constant. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
