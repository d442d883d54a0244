//! The checksums that file systems and partition tables carry. They find damage; they prove nothing against an enemy, and
//! need not: what they let through is read by the same machine that would be lied to.

const CRC32: [u32; 256] = table(0xedb8_8320);
const CRC32C: [u32; 256] = table(0x82f6_3b78);
const CRC16: [u32; 256] = table(0xa001);

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

fn update(table: &[u32; 256], seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| crc >> 8 ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// As in zlib, and in GPT.
pub fn crc32(bytes: &[u8]) -> u32 {
    !update(&CRC32, !0, bytes)
}

/// CRC-32C without the last inversion, to go on from: what ext4 stores.
pub fn crc32c_raw(seed: u32, bytes: &[u8]) -> u32 {
    update(&CRC32C, seed, bytes)
}

/// CRC-32C as others store it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_raw(!0, bytes)
}

/// CRC-16 (ANSI), to go on from.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    update(&CRC16, seed.into(), bytes) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_come_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }
}
