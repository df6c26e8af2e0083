//! CRC-32 as in Ethernet (IEEE 802.3): finds the noise of a serial line, and is no protection against an attacker.

/// A running checksum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn add(self, byte: u8) -> Self {
        // Bit by bit: 1 KiB of table would cost more flash than a few cycles per byte are worth on a serial line.
        let crc = (0..8).fold(self.0 ^ u32::from(byte), |crc, _bit| {
            let shifted = crc >> 1;
            if crc & 1 == 1 {
                shifted ^ 0xedb8_8320
            } else {
                shifted
            }
        });
        Self(crc)
    }

    pub(crate) fn of(bytes: &[u8]) -> [u8; 4] {
        bytes
            .iter()
            .fold(Self::new(), |crc, byte| crc.add(*byte))
            .finish()
    }

    /// The checksum, little-endian.
    pub(crate) const fn finish(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        // CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms: check = 0xcbf43926.
        assert_eq!(Crc32::of(b"123456789"), 0xcbf4_3926u32.to_le_bytes());
    }
}
