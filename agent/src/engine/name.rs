//! Model names as the mesh compares them: always with a tag.

/// `mistral` is `mistral:latest`; what has a tag keeps it.
pub fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::tagged;

    #[test]
    fn a_name_without_a_tag_gets_one() {
        for (name, whole) in [
            ("mistral", "mistral:latest"),
            ("mistral:7b", "mistral:7b"),
            ("host:5000/me/m", "host:5000/me/m:latest"),
            ("hf.co/a/b:Q4", "hf.co/a/b:Q4"),
        ] {
            assert_eq!(tagged(name), whole);
        }
    }
}
