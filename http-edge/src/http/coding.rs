//! Compressed bodies: gzip, deflate and zstd, decoded in small steps to no more than the limit.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tokio::sync::Semaphore;

use super::error::{ApiError, CODINGS};

/// Members of a gzip file, or frames of zstd's, in one body.
const MOST_PARTS: usize = 1000;

/// What a zstd decoder may keep of what it has written; the format's authors recommend that everybody support it.
const WINDOW: u64 = 8 * 1024 * 1024;
/// Between two such steps others have their turn.
const STEP: u64 = 64 * 1024;
/// Nobody needs more on top of each other; each has its own cost.
const MOST: usize = 3;
/// Bodies that are decoded at the same time: each may hold a window beside what it has written.
static DECODERS: Semaphore = Semaphore::const_new(2);

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

/// How the body of a request is compressed, in the order in which that was done.
///
/// # Errors
/// 415 that names what is not understood.
pub fn of(headers: &HeaderMap) -> Result<Vec<Coding>, ApiError> {
    // What is compressed for the transfer is compressed after what is compressed as such.
    let named = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = named.chain(headers.get_all(header::TRANSFER_ENCODING));
    let named = named.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let mut codings = Vec::new();
    for name in named {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "chunked" => {}
            "gzip" | "x-gzip" => codings.push(Coding::Gzip),
            "deflate" => codings.push(Coding::Deflate),
            "zstd" => codings.push(Coding::Zstd),
            other => {
                let other: String = other.chars().take(40).collect();
                let error = format!("the body is encoded as {other:?}; send it as {CODINGS} or as it is");
                return Err(ApiError::unsupported_coding(error));
            }
        }
    }
    if codings.len() > MOST {
        return Err(ApiError::unsupported_coding(format!("the body is encoded more than {MOST} times")));
    }
    Ok(codings)
}

/// Undoes them all.
///
/// # Errors
/// 400 if the body is not what its header says, 413 if there is more in it than `limit` bytes.
pub async fn decoded(mut body: Vec<u8>, codings: &[Coding], limit: usize) -> Result<Vec<u8>, ApiError> {
    for coding in codings.iter().rev() {
        // A proxy may announce a coding and have nothing to say.
        if body.is_empty() {
            break;
        }
        let _turn = DECODERS.acquire().await.expect("never closed");
        body = coding.decode(&body, limit).await?;
    }
    Ok(body)
}

impl Coding {
    async fn decode(self, body: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
        let mut decoder: Box<dyn Read + Send + '_> = match self {
            Self::Gzip => Box::new(Members::new(body)),
            Self::Deflate => Box::new(Inflate::new(body)),
            Self::Zstd => Box::new(Frames::new(body)),
        };
        let mut whole = Vec::new();
        loop {
            let read = decoder.by_ref().take(STEP).read_to_end(&mut whole);
            let read = read.map_err(|error| self.refusal(&error))?;
            if whole.len() > limit {
                let error =
                    format!("the body is more than {limit} bytes when it is decoded, and no more are taken");
                return Err(ApiError::too_large(error));
            }
            if (read as u64) < STEP {
                return Ok(whole);
            }
            tokio::task::yield_now().await;
        }
    }

    fn refusal(self, error: &io::Error) -> ApiError {
        let name = match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        };
        match error.kind() {
            io::ErrorKind::FileTooLarge => ApiError::too_large(format!("the body: {error}")),
            io::ErrorKind::UnexpectedEof => {
                ApiError::bad_request(format!("the body breaks off in the middle of its {name}"))
            }
            _ => ApiError::bad_request(format!("the body is not the {name} that its header says: {error}")),
        }
    }
}

/// A gzip file may consist of several, one after the other.
struct Members<'a> {
    member: Option<GzDecoder<&'a [u8]>>,
    number: usize,
}

impl<'a> Members<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self { member: Some(GzDecoder::new(body)), number: 1 }
    }
}

impl Read for Members<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let rest = self.member.take().map(GzDecoder::into_inner).unwrap_or_default();
            if !rest.is_empty() {
                self.number = counted(self.number)?;
                self.member = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Parts without content cost time and give nothing to count: nobody sends many of them in good faith.
fn counted(parts: usize) -> io::Result<usize> {
    if parts < MOST_PARTS { Ok(parts + 1) } else { Err(io::Error::other("it has too many parts")) }
}

/// What HTTP calls deflate: zlib's format, or what some send in its place, without zlib's head.
struct Inflate<'a> {
    rest: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Inflate<'a> {
    fn new(body: &'a [u8]) -> Self {
        let has_head = matches!(body, [first, second, ..]
            if first & 0x0f == 8 && (u32::from(*first) * 256 + u32::from(*second)).is_multiple_of(31));
        Self { rest: body, state: Decompress::new(has_head), ended: false }
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !out.is_empty() {
            let (read, wrote) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(self.rest, out, FlushDecompress::None)?;
            let read = usize::try_from(self.state.total_in() - read).expect("a part of a slice");
            let wrote = usize::try_from(self.state.total_out() - wrote).expect("a part of a slice");
            self.rest = &self.rest[read..];
            self.ended = status == Status::StreamEnd;
            if self.ended && !self.rest.is_empty() {
                return Err(io::Error::other("something follows its end"));
            }
            if wrote > 0 {
                return Ok(wrote);
            }
            if !self.ended && read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// The frames of zstd, one after the other.
struct Frames<'a> {
    number: usize,
    rest: &'a [u8],
    frame: FrameDecoder,
    within: bool,
}

impl<'a> Frames<'a> {
    fn new(body: &'a [u8]) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        Self { number: 0, rest: body, frame, within: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.number = counted(self.number)?;
        match self.frame.init(&mut self.rest) {
            Ok(()) => self.within = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.rest = self.rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            Err(error) => return Err(because(error)),
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.within = false;
        let told = self.frame.get_checksum_from_data();
        if told.is_some() && told != self.frame.get_calculated_checksum() {
            return Err(io::Error::other("its checksum is wrong"));
        }
        Ok(())
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !out.is_empty() {
            if !self.within {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.begin()?;
            } else if self.frame.can_collect() > 0 {
                return self.frame.read(out);
            } else if self.frame.is_finished() {
                self.end()?;
            } else {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.frame.decode_blocks(&mut self.rest, one).map_err(because)?;
            }
        }
        Ok(0)
    }
}

fn because(error: FrameDecoderError) -> io::Error {
    if let FrameDecoderError::WindowSizeTooBig { requested, max } = error {
        let error = format!("zstd wants to remember {requested} bytes of it, and at most {max} are kept");
        return io::Error::new(io::ErrorKind::FileTooLarge, error);
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if one.downcast_ref::<io::Error>().is_some_and(|one| one.kind() == io::ErrorKind::UnexpectedEof) {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = one.source();
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use serde_json::Value;

    const LIMIT: usize = 1 << 20;

    fn encoded(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let read = |mut encoder: Box<dyn Read + '_>| {
            let mut bytes = Vec::new();
            encoder.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let best = Compression::best;
        vec![
            (Coding::Gzip, read(Box::new(GzEncoder::new(text, best())))),
            (Coding::Deflate, read(Box::new(ZlibEncoder::new(text, best())))),
            (Coding::Deflate, read(Box::new(DeflateEncoder::new(text, best())))),
            (Coding::Zstd, compress_to_vec(text, CompressionLevel::Fastest)),
        ]
    }

    fn decode(coding: Coding, bytes: &[u8]) -> Result<Vec<u8>, Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let decoded = runtime.block_on(decoded(bytes.to_vec(), &[coding], LIMIT));
        decoded.map_err(|error| serde_json::to_value(error).unwrap())
    }

    fn headers(codings: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers
    }

    #[test]
    fn members_without_end_are_refused() {
        let empty = encoded(b"");
        for (coding, bytes) in [&empty[0], &empty[3]] {
            assert_eq!(decode(*coding, &bytes.repeat(MOST_PARTS)).unwrap(), b"");
            let error = decode(*coding, &bytes.repeat(MOST_PARTS + 1)).unwrap_err();
            assert!(error["error"].as_str().unwrap().contains("too many parts"), "{error}");
        }
        let two = encoded(b"a").swap_remove(0).1.repeat(2);
        assert_eq!(decode(Coding::Gzip, &two).unwrap(), b"aa");
    }

    #[test]
    fn codings_are_known_by_their_names_in_any_case_and_order() {
        for (named, wanted) in [
            (&[][..], &[][..]),
            (&["identity"], &[]),
            (&["X-GZip"], &[Coding::Gzip]),
            (&["gzip, zstd"], &[Coding::Gzip, Coding::Zstd]),
            (&["deflate", "Identity, gzip"], &[Coding::Deflate, Coding::Gzip]),
        ] {
            assert_eq!(of(&headers(named)).unwrap(), wanted, "{named:?}");
        }
        for bad in ["br", "gzip, br", "gzip,gzip,gzip,gzip", "dcb"] {
            assert!(of(&headers(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_broken_off_or_changed_or_followed_by_something_is_refused() {
        let text = b"{\"prompt\": \"a text that is long enough to be worth it, a text that is long enough\"}";
        for (coding, bytes) in encoded(text) {
            assert_eq!(decode(coding, &bytes).unwrap(), text, "{coding:?}");
            for end in 1..bytes.len() {
                let error = decode(coding, &bytes[..end]).unwrap_err();
                assert_eq!(error["code"], "bad_request", "{coding:?} {end}: {error}");
            }
            let followed = [&bytes[..], b"garbage"].concat();
            assert!(decode(coding, &followed).is_err(), "{coding:?}");
            assert!(decode(coding, text).is_err(), "{coding:?} on a plain body");
        }
        let twice: Vec<_> =
            encoded(text).into_iter().filter(|(coding, _)| *coding != Coding::Deflate).collect();
        for (coding, bytes) in twice {
            assert_eq!(decode(coding, &[&bytes[..], &bytes[..]].concat()).unwrap().len(), 2 * text.len());
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_a_window_has_one_too() {
        for (coding, bytes) in encoded(&vec![0; LIMIT + 1]) {
            assert!(bytes.len() < 4096, "{}", bytes.len());
            assert_eq!(decode(coding, &bytes).unwrap_err()["code"], "too_large", "{coding:?}");
        }
        for (coding, bytes) in encoded(&vec![0; LIMIT]) {
            assert_eq!(decode(coding, &bytes).unwrap().len(), LIMIT, "{coding:?}");
        }
        // Nothing in it, but it asks for 16 MiB and 128 MiB to remember.
        for exponent in [14, 17] {
            let bytes = [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0];
            assert_eq!(decode(Coding::Zstd, &bytes).unwrap_err()["code"], "too_large");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..64_usize, by: u8) {
            for (coding, mut whole) in encoded(b"a text, a text, a text") {
                let _ = decode(coding, &bytes);
                let at = at % whole.len();
                whole[at] ^= by;
                let _ = decode(coding, &whole);
            }
        }
    }

    /// Whatever the bytes are, there is no more text than the limit says.
    #[test]
    fn spoilt_codings() {
        let text = "{\"prompt\": \"a text that is long enough to be worth it, a text that is long enough\"}"
            .repeat(9);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (number, (coding, bytes)) in encoded(text.as_bytes()).into_iter().enumerate() {
            echo_fuzz::parser(&format!("coding {number}: {coding:?}"), &[bytes], |bytes| {
                let decoded = runtime.block_on(decoded(bytes.to_vec(), &[coding], LIMIT));
                assert!(decoded.as_ref().is_ok_and(|text| text.len() <= LIMIT) || decoded.is_err());
                // A checksum lets hardly anything through: what was begun counts.
                decoded.is_ok() || bytes.len() > 8
            });
        }
    }
}
