//! The key that both sides make of the code, and what travels under it.
//!
//! SPAKE2 (a *password-authenticated key exchange*): whoever listens learns nothing of the code, and whoever guesses it has one
//! guess for each exchange. The proof is separate from the cipher on purpose: one ciphertext of ChaCha20-Poly1305 can be
//! made to open under many keys, so that to open it would prove little.

use echo_bus::message::Hex;
use ring::{aead, hkdf, hmac};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::code::Code;

const JOINER: &[u8] = b"echo-mesh: the machine that joins";
const INVITER: &[u8] = b"echo-mesh: the machine that shows the code";

/// One side's half of the agreement.
pub struct Half {
    state: Spake2<Ed25519Group>,
    message: Vec<u8>,
}

impl Half {
    /// That of the machine that joins.
    pub fn of_joiner(code: &Code) -> Self {
        let (state, message) =
            Spake2::start_a(&Password::new(code.password()), &Identity::new(JOINER), &Identity::new(INVITER));
        Self { state, message }
    }

    /// That of the machine that shows the code.
    pub fn of_inviter(code: &Code) -> Self {
        let (state, message) =
            Spake2::start_b(&Password::new(code.password()), &Identity::new(JOINER), &Identity::new(INVITER));
        Self { state, message }
    }

    /// What the other side has to hear.
    pub fn message(&self) -> Hex {
        self.message.clone().into()
    }

    /// The keys, with what the other side said; `None` if that is no half of an agreement.
    pub fn keys(self, theirs: &Hex) -> Option<Keys> {
        let shared = self.state.finish(theirs.bytes()).ok()?;
        let shared = hkdf::Salt::new(hkdf::HKDF_SHA256, b"echo-mesh join 0").extract(&shared);
        Some(Keys { joiner: OneWay::of(&shared, JOINER)?, inviter: OneWay::of(&shared, INVITER)? })
    }
}

/// A pair of keys for each direction. If the two sides had different codes, theirs differ.
pub struct Keys {
    pub joiner: OneWay,
    pub inviter: OneWay,
}

/// The keys of one direction, in which one message is sent and no other.
pub struct OneWay {
    proof: hmac::Key,
    cipher: aead::LessSafeKey,
}

/// A message under its key, and the proof that its sender has it.
pub struct Sealed {
    pub proof: Hex,
    pub sealed: Hex,
}

impl OneWay {
    fn of(shared: &hkdf::Prk, who: &[u8]) -> Option<Self> {
        let proof = shared.expand(&[who, b"proof"], hmac::HMAC_SHA256).ok()?.into();
        let cipher: aead::UnboundKey =
            shared.expand(&[who, b"cipher"], &aead::CHACHA20_POLY1305).ok()?.into();
        Some(Self { proof, cipher: aead::LessSafeKey::new(cipher) })
    }

    /// The one message of this direction. It takes the keys along: a second one would have the same nonce.
    pub fn seal(self, mut text: Vec<u8>) -> Option<Sealed> {
        self.cipher.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut text).ok()?;
        let proof = hmac::sign(&self.proof, &text).as_ref().to_vec();
        Some(Sealed { proof: proof.into(), sealed: text.into() })
    }

    /// What the other side has sealed; `None` if it has another key.
    pub fn open(&self, proof: &Hex, sealed: &Hex) -> Option<Vec<u8>> {
        hmac::verify(&self.proof, sealed.bytes(), proof.bytes()).ok()?;
        let mut text = sealed.bytes().to_vec();
        let length = self.cipher.open_in_place(nonce(), aead::Aad::empty(), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// Each key is used once.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Code {
        Code::random("10.0.0.1:4222".parse().unwrap())
    }

    fn agreed(joiner: &Code, inviter: &Code) -> (Keys, Keys) {
        let (a, b) = (Half::of_joiner(joiner), Half::of_inviter(inviter));
        let (said_a, said_b) = (a.message(), b.message());
        (a.keys(&said_b).unwrap(), b.keys(&said_a).unwrap())
    }

    #[test]
    fn with_one_code_each_opens_what_the_other_has_sealed() {
        let code = code();
        let (joiner, inviter) = agreed(&code, &code);
        let wish = joiner.joiner.seal(b"wish".to_vec()).unwrap();
        assert_eq!(inviter.joiner.open(&wish.proof, &wish.sealed).as_deref(), Some(&b"wish"[..]));
        assert!(inviter.inviter.open(&wish.proof, &wish.sealed).is_none(), "a message was turned round");
        assert!(!wish.sealed.bytes().windows(4).any(|part| part == b"wish"));
        let grant = inviter.inviter.seal(b"grant".to_vec()).unwrap();
        assert_eq!(joiner.inviter.open(&grant.proof, &grant.sealed).as_deref(), Some(&b"grant"[..]));
    }

    #[test]
    fn with_another_code_nothing_opens_and_no_proof_holds() {
        let (joiner, inviter) = agreed(&code(), &code());
        let wish = joiner.joiner.seal(b"wish".to_vec()).unwrap();
        assert!(inviter.joiner.open(&wish.proof, &wish.sealed).is_none());
    }

    #[test]
    fn a_changed_bit_is_noticed() {
        let code = code();
        let (joiner, inviter) = agreed(&code, &code);
        let wish = joiner.joiner.seal(b"wish".to_vec()).unwrap();
        for at in 0..wish.sealed.bytes().len() {
            let mut changed = wish.sealed.bytes().to_vec();
            changed[at] ^= 1;
            assert!(inviter.joiner.open(&wish.proof, &changed.into()).is_none());
        }
        for proof in [vec![], vec![0; 32]] {
            assert!(inviter.joiner.open(&proof.into(), &wish.sealed).is_none(), "opened without a proof");
        }
    }

    #[test]
    fn what_is_no_half_of_an_agreement_makes_no_keys() {
        for bytes in [vec![], vec![0; 33], vec![0x41; 33], vec![0x42; 33], vec![0x42; 4096]] {
            assert!(Half::of_joiner(&code()).keys(&bytes.into()).is_none());
        }
        // Our own half, sent back.
        let half = Half::of_joiner(&code());
        let own = half.message();
        assert!(half.keys(&own).is_none());
    }
}
