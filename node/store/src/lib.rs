//! RocksDB storage behind one typed schema
