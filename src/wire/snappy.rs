//! Snappy's block format, the only one Loki's push endpoint takes for protobuf.

/// Compresses requests, with its table and its output space kept between them.
#[derive(Debug)]
pub struct Compressor {
    encoder: snap::raw::Encoder,
    /// Large enough for the worst case of the largest request so far.
    space: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { encoder: snap::raw::Encoder::new(), space: Vec::new() }
    }
}

impl Compressor {
    /// Compresses `request` into a block that takes no more memory than it is long.
    ///
    /// # Panics
    /// If `request` is 4 GiB or more, far above any push.
    #[must_use]
    pub fn compress(&mut self, request: &[u8]) -> Vec<u8> {
        self.space.resize(snap::raw::max_compress_len(request.len()).max(self.space.len()), 0);
        let len = self
            .encoder
            .compress(request, &mut self.space)
            .expect("BUG: the space is as large as snappy asks for");
        self.space[..len].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_whole() {
        let mut compressor = Compressor::default();
        for size in [0, 1, 70_000, 3] {
            let request: Vec<u8> = (0..=250).cycle().take(size).collect();
            let block = compressor.compress(&request);
            assert_eq!(snap::raw::Decoder::new().decompress_vec(&block).unwrap(), request);
        }
    }
}
