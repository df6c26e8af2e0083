//! Frames of requests and responses: a little-endian `u32` length, then that many bytes of postcard.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::message::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Request, Response};

/// What a peer got wrong in a frame. Travels inside an [`io::Error`], so that broken peers can be told from broken
/// connections.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("frame of {found} bytes, expected 1 to {limit}")]
    Length { limit: usize, found: u32 },
    #[error("frame does not decode: {0}")]
    Decode(#[source] postcard::Error),
    #[error("{0} bytes left over after the message")]
    Trailing(usize),
}

impl FrameError {
    /// The frame error inside an IO error, if it is one.
    pub(crate) fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Why a frame was not read.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Stream(#[from] io::Error),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Frame(error) => error.into(),
            ReadError::Stream(error) => error,
        }
    }
}

/// Reads and writes frames within fixed limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameCodec {
    max_request: usize,
    max_response: usize,
}

impl FrameCodec {
    /// For the status protocol, whose answers are as small as its questions.
    pub(crate) const STATUS: Self = Self {
        max_request: MAX_REQUEST_BYTES,
        max_response: MAX_REQUEST_BYTES,
    };
    /// For the block protocol.
    pub(crate) const SYNC: Self = Self {
        max_request: MAX_REQUEST_BYTES,
        max_response: MAX_RESPONSE_BYTES,
    };
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    /// Frame errors of arriving requests are handed up as values: the library swallows the errors of `read_request`.
    type Request = Result<Request, FrameError>;
    type Response = Response;

    async fn read_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
    ) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_frame(stream, self.max_request).await {
            Ok(request) => Ok(Ok(request)),
            Err(ReadError::Frame(error)) => Ok(Err(error)),
            Err(ReadError::Stream(error)) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(read_frame(stream, self.max_response).await?)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(stream, self.max_request, &request?).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(stream, self.max_response, &response).await
    }
}

async fn read_frame<T, M>(stream: &mut T, limit: usize) -> Result<M, ReadError>
where
    T: AsyncRead + Unpin + Send,
    M: DeserializeOwned,
{
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let length = u32::from_le_bytes(prefix);
    if length == 0 || usize::try_from(length).map_or(true, |length| length > limit) {
        return Err(FrameError::Length {
            limit,
            found: length,
        }
        .into());
    }
    // Grows with what arrives, not with what is claimed.
    let mut frame = Vec::new();
    let read = stream
        .take(u64::from(length))
        .read_to_end(&mut frame)
        .await?;
    if read as u64 != u64::from(length) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let (message, rest) = postcard::take_from_bytes(&frame).map_err(FrameError::Decode)?;
    if !rest.is_empty() {
        return Err(FrameError::Trailing(rest.len()).into());
    }
    Ok(message)
}

async fn write_frame<T, M>(stream: &mut T, limit: usize, message: &M) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
    M: Serialize + Sync,
{
    let frame = postcard::to_allocvec(message).map_err(io::Error::other)?;
    let length = match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= limit => length,
        _ => {
            return Err(io::Error::other(format!(
                "frame of {} bytes, the limit is {limit}",
                frame.len()
            )));
        }
    };
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(&frame).await?;
    stream.close().await
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn read(bytes: &[u8], limit: usize) -> io::Result<Request> {
        Ok(block_on(read_frame(&mut Cursor::new(bytes), limit))?)
    }

    fn write(request: &Request) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        block_on(write_frame(&mut out, MAX_REQUEST_BYTES, request)).unwrap();
        out.into_inner()
    }

    #[test]
    fn frames_survive_a_round_trip() {
        let request = Request::BlocksByRange {
            start_height: 7,
            count: 3,
        };
        let bytes = write(&request);
        assert_eq!(bytes, [3, 0, 0, 0, 1, 7, 3]);
        assert_eq!(read(&bytes, MAX_REQUEST_BYTES).unwrap(), request);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_before_reading_on() {
        for length in [0u32, 4097, u32::MAX] {
            let error = read(&length.to_le_bytes(), 4096).unwrap_err();
            assert!(
                matches!(FrameError::inside(&error), Some(FrameError::Length { limit: 4096, found }) if *found == length)
            );
        }
    }

    #[test]
    fn garbage_and_leftovers_are_frame_errors() {
        let error = read(&[2, 0, 0, 0, 9, 9], 4096).unwrap_err();
        assert!(matches!(
            FrameError::inside(&error),
            Some(FrameError::Decode(_))
        ));
        let error = read(&[4, 0, 0, 0, 1, 7, 3, 0], 4096).unwrap_err();
        assert!(matches!(
            FrameError::inside(&error),
            Some(FrameError::Trailing(1))
        ));
    }

    #[test]
    fn a_cut_off_frame_is_an_ordinary_io_error() {
        let error = read(&[3, 0, 0, 0, 1], 4096).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(FrameError::inside(&error).is_none());
    }

    #[test]
    fn too_large_a_message_is_not_written() {
        let response = Response::Blocks(vec![vec![0; 5000]]);
        let mut out = Cursor::new(Vec::new());
        assert!(block_on(write_frame(&mut out, 4096, &response)).is_err());
        assert!(out.into_inner().is_empty());
    }
}
