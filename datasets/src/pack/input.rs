use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file to pack, unzipped where it is gzipped.
pub(super) fn open_input(path: &Path) -> Result<Box<dyn Read>> {
    let refused = Error::io("read", path);
    // It is read more than once, which is nothing for a pipe, and has an end, which a device has not.
    let file = match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
        }
        Ok(_) => File::open(path),
        Err(error) => Err(error),
    };
    let mut file = BufReader::new(file.map_err(refused)?);
    let gzipped = file.fill_buf().map_err(Error::io("read", path))?.starts_with(&GZIP_MAGIC);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}
