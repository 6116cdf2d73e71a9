//! What has changed between two JSON objects, as a merge patch (RFC 7396): small, and six lines to apply in any language.

use serde_json::{Map, Value};

/// Makes `new` of `old`; `None` when they are equal. Neither may hold a null, which means absence in a patch.
pub fn between(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match (old.get(name), value) {
            (Some(before), value) if before == value => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = between(before, after).map(Value::Object);
                patch.extend(inner.map(|inner| (name.clone(), inner)));
            }
            (_, value) => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As the RFC says it, and as the page does it.
    fn apply(target: &mut Map<String, Value>, patch: Map<String, Value>) {
        for (name, value) in patch {
            match value {
                Value::Null => drop(target.remove(&name)),
                Value::Object(inner) => {
                    let place = target.entry(name).or_insert_with(|| json!({}));
                    if !place.is_object() {
                        *place = json!({});
                    }
                    apply(place.as_object_mut().unwrap(), inner);
                }
                other => drop(target.insert(name, other)),
            }
        }
    }

    fn objects() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..4).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
            prop::collection::vec(0..3, 0..3).prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        prop::collection::btree_map("[a-d]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_new_of_the_old_and_nothing_of_equals(old in objects(), new in objects()) {
            let patch = between(&old, &new);
            prop_assert_eq!(patch.is_none(), old == new);
            let mut patched = old;
            apply(&mut patched, patch.unwrap_or_default());
            prop_assert_eq!(patched, new);
        }
    }

    #[test]
    fn what_has_not_changed_is_not_said() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let old = object(json!({"a": {"x": 1, "y": [1]}, "b": 2}));
        let new = object(json!({"a": {"x": 1, "y": [2]}, "c": 3}));
        assert_eq!(between(&old, &new).map(Value::Object), Some(json!({"a": {"y": [2]}, "b": null, "c": 3})));
    }
}
