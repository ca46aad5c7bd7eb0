//! The body of an answer, in pieces: each that the connection takes shows that the client goes on reading.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

use super::course::Requests;

/// Bytes of a piece at most: a client that reads so little in an idle timeout is as good as none.
const PIECE: usize = 64 * 1024;

/// A body whose pieces are noted with the requests of its connection.
#[derive(Debug)]
pub(super) struct Observed {
    body: Body,
    /// What was taken of the body and not yet by the connection.
    rest: Bytes,
    requests: Requests,
}

impl Observed {
    pub(super) fn new(body: Body, requests: Requests) -> Self {
        Self { body, rest: Bytes::new(), requests }
    }
}

impl hyper::body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.requests.go_on();
        let piece = PIECE.min(self.rest.len());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn a_long_body_comes_in_pieces_and_is_the_same() {
        let sent: Bytes = (0..=u8::MAX).cycle().take(3 * PIECE + 1).collect();
        let requests = Requests::default();
        let mut observed = Observed::new(Body::from(sent.clone()), requests.clone());
        let mut read = Vec::new();
        let mut lengths = Vec::new();
        while !observed.is_end_stream() {
            assert_eq!(observed.size_hint().exact(), Some((sent.len() - read.len()) as u64));
            let frame = poll_fn(|context| Pin::new(&mut observed).poll_frame(context)).await;
            let piece = frame.unwrap().unwrap().into_data().unwrap();
            lengths.push(piece.len());
            read.extend_from_slice(&piece);
            assert!(requests.seen().has_begun());
        }
        assert_eq!(lengths, [PIECE, PIECE, PIECE, 1]);
        assert_eq!(read, sent);
    }
}
