//! The body of an HTTP/1.1 response, taken apart as it arrives.

/// How much of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked(Place),
    /// Until the server closes.
    Close,
}

/// Where in the chunked coding the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a chunk's size, with what was read of it and whether any digit was.
    Size(u64, bool),
    /// Behind the size, before its line's end.
    Extension(u64),
    Data(u64),
    /// The line's end behind a chunk.
    AfterData,
    /// A line of the trailer, and whether it is empty so far.
    Trailer(bool),
    End,
}

/// The bytes are no chunked coding.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked coding is broken")]
pub struct Broken;

impl Body {
    pub const CHUNKED: Self = Self::Chunked(Place::Size(0, false));

    pub fn is_whole(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Place::End))
    }

    /// Whether the server's closing is a proper end.
    pub fn may_close(self) -> bool {
        self == Self::Close
    }

    /// Gives the body's bytes within `input` to `out`. What follows the body's end is an error.
    pub fn take(&mut self, input: &[u8], mut out: impl FnMut(&[u8])) -> Result<(), Broken> {
        match self {
            Self::Close => out(input),
            Self::Length(left) => {
                *left = left.checked_sub(input.len() as u64).ok_or(Broken)?;
                out(input);
            }
            Self::Chunked(place) => return chunked(place, input, out),
        }
        Ok(())
    }
}

fn chunked(place: &mut Place, mut input: &[u8], mut out: impl FnMut(&[u8])) -> Result<(), Broken> {
    while let Some(&byte) = input.first() {
        if let Place::Data(left) = *place {
            let now = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
            out(&input[..now]);
            input = &input[now..];
            let left = left - now as u64;
            *place = if left == 0 { Place::AfterData } else { Place::Data(left) };
            continue;
        }
        input = &input[1..];
        *place = step(*place, byte)?;
    }
    Ok(())
}

/// The next place after a byte that is not of the body itself.
fn step(place: Place, byte: u8) -> Result<Place, Broken> {
    Ok(match (place, byte) {
        (Place::Size(size, true) | Place::Extension(size), b'\n') => {
            if size == 0 {
                Place::Trailer(true)
            } else {
                Place::Data(size)
            }
        }
        (Place::Size(size, true), b'\r' | b';' | b' ' | b'\t') | (Place::Extension(size), _) => {
            Place::Extension(size)
        }
        (Place::Size(size, _), digit) => {
            let digit = char::from(digit).to_digit(16).ok_or(Broken)?;
            Place::Size(size.checked_mul(16).ok_or(Broken)? + u64::from(digit), true)
        }
        (Place::AfterData, b'\r') => Place::AfterData,
        (Place::AfterData, b'\n') => Place::Size(0, false),
        (Place::Trailer(true), b'\n') => Place::End,
        (Place::Trailer(empty), b'\r') => Place::Trailer(empty),
        (Place::Trailer(_), b'\n') => Place::Trailer(true),
        (Place::Trailer(_), _) => Place::Trailer(false),
        (Place::AfterData | Place::Data(_) | Place::End, _) => return Err(Broken),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut body: Body, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), Broken> {
        let mut read = Vec::new();
        for piece in pieces {
            body.take(piece, |bytes| read.extend_from_slice(bytes))?;
        }
        Ok((read, body.is_whole()))
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let wire = b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(read(Body::CHUNKED, &[wire]), Ok((b"abc".to_vec(), true)));
    }

    #[test]
    fn a_body_that_ends_early_is_not_whole() {
        assert_eq!(read(Body::CHUNKED, &[b"3\r\nabc\r\n"]), Ok((b"abc".to_vec(), false)));
        assert_eq!(read(Body::Length(4), &[b"abc"]), Ok((b"abc".to_vec(), false)));
    }

    #[test]
    fn what_is_no_coding_is_an_error() {
        for wire in ["x\r\n", "\r\n", "1\r\nab", "0\r\n\r\nmore", "ffffffffffffffffff\r\n"] {
            assert_eq!(read(Body::CHUNKED, &[wire.as_bytes()]), Err(Broken), "{wire:?}");
        }
        assert_eq!(read(Body::Length(2), &[b"abc"]), Err(Broken));
    }

    proptest! {
        #[test]
        fn a_chunked_body_is_read_however_the_bytes_arrive(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<_> = wire.chunks(cut).collect();
            prop_assert_eq!(read(Body::CHUNKED, &pieces), Ok((chunks.concat(), true)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(Body::CHUNKED, &[&bytes]);
        }
    }
}
