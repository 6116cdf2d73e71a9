//! The code that lets one machine join: where the broker is, which invitation is meant, and a secret, in letters that are
//! easy to read aloud. It carries a checksum, so that a typing error is told from a code that is used or old.
//!
//! The letters are Crockford's base 32. Read as one number in base 32, a code leaves the rest 1 when it is divided by 1021
//! (as a bank account number in IBAN is checked by 97). 1021 is a prime, and the first 68 powers of 32 leave different rests:
//! so each single wrong letter is noticed, and each two that have changed places.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use rand::Rng as _;

const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const PRIME: u32 = 1021;
/// Letters between two dashes.
const GROUP: usize = 4;
/// What is longer is no code, and is not looked at.
const LONGEST: usize = 200;
/// The port that needs no place in the code.
const USUAL_PORT: u16 = 4222;

/// Which layout follows; the only one so far.
const VERSION: u128 = 0;
const VERSION_BITS: usize = 3;
const ID_BITS: usize = 13;
const SECRET_BITS: usize = 40;

/// A code. Whoever knows it may join, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Where the broker is, as seen from other machines.
    pub broker: SocketAddr,
    /// Which of the mesh's invitations it is; no secret.
    invitation: u16,
    secret: u64,
}

/// Why a text is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("there is a typing error in the code: compare it with the other machine's screen")]
    Typing,
    #[error("this is no code: a code has 20 letters and digits or more, such as 0R2M-0256-NW28-T5CY-4T5P")]
    Length,
    #[error("the code is of a newer version of echo-mesh: bring this machine's up to date")]
    Newer,
}

impl Code {
    /// A new one, for the broker at this address.
    pub fn random(broker: SocketAddr) -> Self {
        let mut random = rand::rng();
        Self {
            broker,
            invitation: random.random_range(0..1 << ID_BITS),
            secret: random.random_range(0..1 << SECRET_BITS),
        }
    }

    /// The number of the invitation, which names its subject on the bus.
    pub fn invitation(&self) -> u16 {
        self.invitation
    }

    /// What both sides make their key of: all of the code.
    pub fn password(&self) -> String {
        self.letters().into_iter().map(char::from).collect()
    }

    /// The code as people read it.
    pub fn shown(&self) -> String {
        let letters = self.letters();
        let groups = letters.chunks(GROUP).map(|group| group.iter().copied().map(char::from).collect());
        groups.collect::<Vec<String>>().join("-")
    }

    fn letters(&self) -> Vec<u8> {
        let mut digits = self.bits().digits();
        let rest = (rest(&digits) * 1024) % PRIME;
        let check = (PRIME + 1 - rest) % PRIME;
        digits.extend([check / 32, check % 32]);
        digits.iter().map(|digit| LETTERS[*digit as usize]).collect()
    }

    fn bits(&self) -> Bits {
        let mut bits = Bits::default();
        bits.push(VERSION, VERSION_BITS);
        bits.push(u128::from(self.broker.is_ipv6()), 1);
        bits.push(u128::from(self.broker.port() != USUAL_PORT), 1);
        match self.broker.ip() {
            IpAddr::V4(ip) => bits.push(ip.to_bits().into(), 32),
            IpAddr::V6(ip) => bits.push(ip.to_bits(), 128),
        }
        if self.broker.port() != USUAL_PORT {
            bits.push(self.broker.port().into(), 16);
        }
        bits.push(self.invitation.into(), ID_BITS);
        bits.push(self.secret.into(), SECRET_BITS);
        bits
    }

    fn of(mut bits: Bits) -> Option<Self> {
        let is_ipv6 = bits.take(1)? == 1;
        let has_port = bits.take(1)? == 1;
        let ip = if is_ipv6 {
            IpAddr::V6(Ipv6Addr::from_bits(bits.take(128)?))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits.take(32)?).ok()?))
        };
        let port = if has_port { u16::try_from(bits.take(16)?).ok()? } else { USUAL_PORT };
        let invitation = u16::try_from(bits.take(ID_BITS)?).ok()?;
        let secret = u64::try_from(bits.take(SECRET_BITS)?).ok()?;
        bits.is_spent().then_some(Self { broker: SocketAddr::new(ip, port), invitation, secret })
    }
}

/// Without the secret: nobody means to log it.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, {:04x}, …)", self.broker, self.invitation)
    }
}

impl FromStr for Code {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > LONGEST {
            return Err(Invalid::Length);
        }
        let typed = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-');
        let mut digits = typed.map(digit).collect::<Option<Vec<u32>>>().ok_or(Invalid::Typing)?;
        if digits.len() < 16 {
            return Err(Invalid::Length);
        }
        if rest(&digits) != 1 {
            return Err(Invalid::Typing);
        }
        digits.truncate(digits.len() - 2);
        let mut bits = Bits::of(&digits);
        if bits.take(VERSION_BITS) != Some(VERSION) {
            return Err(Invalid::Newer);
        }
        let code = Self::of(bits).ok_or(Invalid::Typing)?;
        // One code has one spelling: whatever else leads to it was typed wrong.
        if code.bits().digits() == digits { Ok(code) } else { Err(Invalid::Typing) }
    }
}

/// What a letter stands for. Those that are mistaken for digits are read as digits.
fn digit(letter: char) -> Option<u32> {
    let letter = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = LETTERS.iter().position(|known| char::from(*known) == letter)?;
    u32::try_from(at).ok()
}

/// The number with these digits in base 32, divided by the prime: what is left.
fn rest(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |rest, digit| (rest * 32 + digit) % PRIME)
}

/// Numbers of any width behind each other.
#[derive(Default)]
struct Bits {
    bits: Vec<bool>,
    taken: usize,
}

impl Bits {
    fn push(&mut self, number: u128, width: usize) {
        self.bits.extend((0..width).rev().map(|place| number >> place & 1 == 1));
    }

    fn take(&mut self, width: usize) -> Option<u128> {
        let taken = self.bits.get(self.taken..self.taken + width)?;
        self.taken += width;
        Some(taken.iter().fold(0, |number, bit| number << 1 | u128::from(*bit)))
    }

    /// Whether nothing is left but what fills the last letter.
    fn is_spent(&self) -> bool {
        self.bits.len() - self.taken < 5
    }

    fn digits(&self) -> Vec<u32> {
        let digit = |bits: &[bool]| {
            let padded = bits.iter().copied().chain(std::iter::repeat(false)).take(5);
            padded.fold(0, |digit, bit| digit << 1 | u32::from(bit))
        };
        self.bits.chunks(5).map(digit).collect()
    }

    fn of(digits: &[u32]) -> Self {
        let mut bits = Self::default();
        digits.iter().for_each(|digit| bits.push((*digit).into(), 5));
        bits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes() -> impl Strategy<Value = Code> {
        let ip = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))
        ];
        let port = prop_oneof![Just(4222), any::<u16>()];
        (ip, port, 0u16..1 << ID_BITS, 0u64..1 << SECRET_BITS).prop_map(|(ip, port, invitation, secret)| {
            Code { broker: SocketAddr::new(ip, port), invitation, secret }
        })
    }

    #[test]
    fn a_usual_code_has_twenty_letters_in_groups_of_four() {
        let code =
            Code { broker: "192.168.1.20:4222".parse().unwrap(), invitation: 0x1abc, secret: 0x12_3456_789a };
        let shown = code.shown();
        assert_eq!(shown, "0R2M-0256-NW28-T5CY-4T5P");
        let with_port = Code { broker: "192.168.1.20:4333".parse().unwrap(), ..code.clone() };
        assert_eq!(with_port.shown().replace('-', "").len(), 24);
        let ipv6 = Code { broker: "[fd00::1]:4222".parse().unwrap(), ..code.clone() };
        assert_eq!(ipv6.shown().replace('-', "").len(), 40);
        assert!(!format!("{code:?}").contains("3456"), "{code:?}");
    }

    #[test]
    fn what_is_too_short_or_too_long_is_no_code() {
        for text in ["", "-", "0000-0000", &"0".repeat(201), &"-".repeat(100)] {
            assert_eq!(text.parse::<Code>(), Err(Invalid::Length), "{text}");
        }
    }

    #[test]
    fn a_code_of_a_newer_version_says_so() {
        let mut digits = vec![0b00100u32; 18];
        let check = (PRIME + 1 - rest(&digits) * 1024 % PRIME) % PRIME;
        digits.extend([check / 32, check % 32]);
        let text: String = digits.iter().map(|digit| char::from(LETTERS[*digit as usize])).collect();
        assert_eq!(text.parse::<Code>(), Err(Invalid::Newer));
    }

    proptest! {
        #[test]
        fn a_code_is_read_as_it_was_meant_however_it_is_typed(code in codes(), style in 0..4) {
            let shown = code.shown();
            let typed = match style {
                0 => shown,
                1 => shown.to_lowercase().replace('-', " "),
                2 => shown.replace('0', "o").replace('1', "l"),
                _ => shown.replace('-', "").replace('0', "O").replace('1', "I"),
            };
            prop_assert_eq!(typed.parse::<Code>(), Ok(code));
        }

        #[test]
        fn each_wrong_letter_is_a_typing_error(code in codes(), at in any::<prop::sample::Index>(), by in 1usize..32) {
            let mut letters = code.letters();
            let at = at.index(letters.len());
            let was = LETTERS.iter().position(|letter| *letter == letters[at]).unwrap();
            letters[at] = LETTERS[(was + by) % 32];
            prop_assert_eq!(String::from_utf8(letters).unwrap().parse::<Code>(), Err(Invalid::Typing));
        }

        #[test]
        fn any_two_letters_that_have_changed_places_are_a_typing_error(
            code in codes(), one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()
        ) {
            let mut letters = code.letters();
            let (one, other) = (one.index(letters.len()), other.index(letters.len()));
            if letters[one] == letters[other] {
                return Ok(());
            }
            letters.swap(one, other);
            prop_assert_eq!(String::from_utf8(letters).unwrap().parse::<Code>(), Err(Invalid::Typing));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}") {
            let _ = text.parse::<Code>();
        }

        #[test]
        fn what_is_read_is_shown_alike(mut digits in prop::collection::vec(0u32..32, 14..42)) {
            // Of the known version, with a right checksum: what is left to be wrong is its length and what fills it.
            digits[0] %= 4;
            let check = (PRIME + 1 - rest(&digits) * 1024 % PRIME) % PRIME;
            digits.extend([check / 32, check % 32]);
            let text: String = digits.iter().map(|digit| char::from(LETTERS[*digit as usize])).collect();
            match text.parse::<Code>() {
                Ok(code) => prop_assert_eq!(code.shown().replace('-', ""), text),
                Err(why) => prop_assert_eq!(why, Invalid::Typing),
            }
        }
    }

    #[test]
    fn spoilt_codes() {
        let codes = ["192.168.1.20:4222", "10.0.0.1:1", "[fd00::1]:4222"]
            .map(|broker| Code::random(broker.parse().unwrap()).shown());
        echo_fuzz::parser("join code", &codes, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let code = text.parse::<Code>();
            if let Ok(code) = &code {
                assert_eq!(code.shown().parse().as_ref(), Ok(code));
            }
            // Hardly anything passes the checksum.
            code.is_ok() || code == Err(Invalid::Typing)
        });
    }
}
