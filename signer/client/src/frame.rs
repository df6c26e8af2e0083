//! Frames over a byte stream: a length of four bytes, big-endian, then the message.

use alys_protocol::signer::{FrameError, MAX_FRAME_BYTES};
use std::io;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A frame that could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The stream failed or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The announced length is above the limit; the stream cannot be used any more.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads the length of the next frame; `None` where the stream ends before one starts.
///
/// # Errors
/// - [`ReadError::Io`] where the stream fails or ends inside the length;
/// - [`ReadError::Frame`] where the length is above [`MAX_FRAME_BYTES`].
pub async fn read_length<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<usize>, ReadError> {
    let mut length = [0u8; 4];
    let (first, rest) = length.split_at_mut(1);
    if stream.read(first).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(rest).await?;
    let length = u32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME_BYTES => Ok(Some(length)),
        Ok(_) | Err(_) => Err(FrameError::TooLong {
            found: usize::try_from(length).unwrap_or(usize::MAX),
        }
        .into()),
    }
}

/// Reads a frame's body. Memory grows with what arrives, not with what was announced.
///
/// # Errors
/// - [`io::ErrorKind::UnexpectedEof`] where the stream ends inside it.
pub async fn read_body<S: AsyncRead + Unpin>(stream: &mut S, length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(length.min(64 << 10));
    let read = stream.take(length as u64).read_to_end(&mut body).await?;
    if read != length {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("expected a frame of {length} bytes, found {read}"),
        ));
    }
    Ok(body)
}

/// Writes a whole frame, its length included.
///
/// # Errors
/// - whatever the stream reports.
pub async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}
