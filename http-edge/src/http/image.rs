//! Pictures in requests. Clients send them with a data URL's head or without, in lines or in one; nodes of both kinds get
//! the same plain base64. What is no picture is refused here, so that it does not depend on the node what becomes of it.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::error::ApiError;

/// As forgiving as the decoders of the engines together.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The base64 of the picture at `place`, sent bare or as a data URL.
///
/// # Errors
/// 400 that names the place.
pub fn plain(place: &str, said: &str) -> Result<String, ApiError> {
    match head(said) {
        Some((head, data)) => with_head(place, head, data),
        None if is_elsewhere(said) => Err(not_fetched(place)),
        None => checked(place, said),
    }
}

/// The same where a bare text would be an address: OpenAI's `image_url`. Pictures elsewhere are not fetched: a mesh is no
/// browser.
///
/// # Errors
/// 400 that names the place.
pub fn of_url(place: &str, url: &str) -> Result<String, ApiError> {
    let (head, data) = head(url).ok_or_else(|| not_fetched(place))?;
    with_head(place, head, data)
}

/// All pictures of a list.
///
/// # Errors
/// 400 that names the first that is none.
pub fn all(place: &str, list: Vec<String>) -> Result<Vec<String>, ApiError> {
    list.into_iter().enumerate().map(|(number, said)| plain(&format!("{place}[{number}]"), &said)).collect()
}

/// What stands before and after the comma of a data URL.
fn head(said: &str) -> Option<(&str, &str)> {
    let said = said.trim_start();
    let scheme = said.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:"))?;
    said[scheme.len()..].split_once(',')
}

fn with_head(place: &str, head: &str, data: &str) -> Result<String, ApiError> {
    let head = head.to_ascii_lowercase();
    let media = head.strip_suffix(";base64").ok_or_else(|| no_picture(place))?;
    let media = media.split(';').next().unwrap_or_default().trim();
    // The head is not believed, but who says that it is none is.
    if ["image/svg", "application/pdf", "text/", "video/", "audio/"]
        .iter()
        .any(|other| media.starts_with(other))
    {
        return Err(no_picture(place));
    }
    checked(place, data)
}

fn checked(place: &str, data: &str) -> Result<String, ApiError> {
    let data: String = data.split_ascii_whitespace().collect();
    let bytes = FORGIVING.decode(&data).map_err(|_| no_picture(place))?;
    if !is_picture(&bytes) {
        return Err(no_picture(place));
    }
    Ok(STANDARD.encode(bytes))
}

/// By its first bytes.
fn is_picture(bytes: &[u8]) -> bool {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    let begins: [&[u8]; 4] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM"];
    webp || begins.iter().any(|magic| bytes.starts_with(magic))
}

fn is_elsewhere(said: &str) -> bool {
    let scheme = said.split_once("://").map(|(scheme, _)| scheme.trim_start());
    scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn not_fetched(place: &str) -> ApiError {
    let why = "send the picture itself, as data:image/png;base64,…; it is not fetched from elsewhere";
    ApiError::bad_request(format!("{place}: {why}")).param(place)
}

fn no_picture(place: &str) -> ApiError {
    ApiError::bad_request(format!("{place}: expected a PNG, JPEG, WebP, GIF or BMP picture in base64"))
        .param(place)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A PNG of one pixel.
    pub const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    fn refused(said: &str) -> String {
        let error = plain("images[0]", said).unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn a_picture_is_the_same_with_any_head_and_in_any_lines() {
        let (first, second) = PNG.split_at(76);
        for said in [
            PNG.to_owned(),
            format!("{PNG}\n"),
            format!("{first}\n{second}"),
            format!("{first}\r\n{second}\r\n"),
            PNG.trim_end_matches('=').to_owned(),
            format!("data:image/png;base64,{PNG}"),
            format!("data:image/jpeg;base64,{PNG}"),
            format!("DATA:IMAGE/PNG;BASE64,{PNG}"),
            format!("data:image/png;charset=x;base64,{first}\n{second}"),
            format!("data:;base64,{PNG}"),
        ] {
            assert_eq!(plain("images[0]", &said).unwrap(), PNG, "{said}");
        }
        assert_eq!(of_url("u", &format!("Data:;base64,{PNG}")).unwrap(), PNG);
    }

    #[test]
    fn what_is_no_picture_is_named_and_nothing_is_fetched() {
        let pdf = STANDARD.encode(b"%PDF-1.7");
        let svg = STANDARD.encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
        let with_head = |media: &str, data: &str| format!("data:{media};base64,{data}");
        for said in [
            "",
            " ",
            "not base64!",
            "/home/ann/a.png",
            "/tmp/pics",
            "data:",
            "data:,",
            &pdf,
            &svg,
            "iVBO\u{e9}",
        ] {
            assert!(refused(said).starts_with("images[0]: expected a PNG"), "{said}: {}", refused(said));
        }
        for said in [
            with_head("image/png", "not base64!"),
            with_head("image/svg+xml", PNG),
            with_head("application/pdf", &pdf),
            format!("data:image/png,{PNG}"),
            with_head("image/png", ""),
        ] {
            assert!(refused(&said).starts_with("images[0]: expected a PNG"), "{said}");
            assert!(of_url("u", &said).is_err());
        }
        for said in ["http://127.0.0.1:9/x.png", "HTTPS://x/y", "file:///etc/passwd"] {
            assert!(refused(said).contains("not fetched") && of_url("u", said).is_err(), "{said}");
        }
        assert!(of_url("u", PNG).is_err(), "where an address is meant, it has to look like one");
    }

    proptest! {
        #[test]
        fn any_picture_comes_through_whole_and_no_text_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..99), text in "(data:)?\\PC{0,20}(;base64)?,?\\PC{0,20}",
        ) {
            let picture = [b"GIF8", &bytes[..]].concat();
            let said = STANDARD.encode(&picture);
            prop_assert_eq!(plain("p", &said).unwrap(), said.clone());
            let _ = (plain("p", &text), of_url("p", &text));
        }
    }
}
