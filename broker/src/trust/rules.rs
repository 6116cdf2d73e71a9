//! Which keys may be let in, and which may be taken out. Each reason is a sentence for a person.

use echo_bus::id::TaskId;
use echo_bus::key::PublicKey;
use echo_bus::message::NewKey;
use echo_bus::permission::Machine;
use echo_bus::subject::Duty;

/// More than a broker should serve; what is asked of it stays small.
pub(super) const MOST_MACHINES: usize = 10_000;
const LONGEST_NAME: usize = 63;

/// A name is also the name of a file, and stands in commands.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with(['.', '-']) || !name.bytes().all(good)
    {
        let shown: String = name.chars().take(LONGEST_NAME + 1).collect();
        return Err(format!(
            "{shown:?} is no name for a machine: it has 1 to {LONGEST_NAME} letters, digits and - _ . and begins with none \
             of . and -"
        ));
    }
    Ok(())
}

/// What another machine may not ask for.
pub(super) fn from_outside(keys: &[NewKey]) -> Result<(), String> {
    match keys.iter().find(|new| matches!(new.duty, Duty::Broker | Duty::Guest)) {
        Some(new) => Err(format!(
            "{:?} cannot be let in for that: a broker makes its own key, and a guest needs none",
            new.name
        )),
        None => Ok(()),
    }
}

/// Lets these in, or says why not.
pub(super) fn admit(machines: &mut Vec<Machine>, keys: &[NewKey], since: u64) -> Result<(), String> {
    for new in keys {
        let same = |one: &Machine| {
            one.name == new.name && one.key == new.key && one.duty == new.duty && one.node == new.node
        };
        if machines.iter().any(same) {
            continue;
        }
        check(machines, new)?;
        let NewKey { name, duty, node, key } = new.clone();
        machines.push(Machine { name, duty, node, key, since });
    }
    Ok(())
}

fn check(machines: &[Machine], new: &NewKey) -> Result<(), String> {
    let NewKey { name, duty, node, key } = new;
    check_name(name)?;
    if machines.len() >= MOST_MACHINES {
        return Err(format!("there are {MOST_MACHINES} machines already: revoke those that are gone"));
    }
    if let Some(other) = machines.iter().find(|one| one.name.eq_ignore_ascii_case(name)) {
        return Err(format!(
            "there is a machine {:?} already: revoke it, or choose another name",
            other.name
        ));
    }
    if let Some(other) = machines.iter().find(|one| one.key == *key) {
        return Err(format!("the key of {name:?} is in already under the name {:?}", other.name));
    }
    // Its home stands in permissions, and is shorter than a key.
    let home = |duty, key: &PublicKey| (duty == Duty::Edge).then(|| TaskId::home_of(&key.process()));
    if let Some(mine) = home(*duty, key)
        && let Some(other) = machines.iter().find(|one| home(one.duty, &one.key).is_some_and(|it| it == mine))
    {
        return Err(format!("the key of {name:?} is too like that of {:?}: make another", other.name));
    }
    if (*duty == Duty::Agent) != node.is_some() {
        return Err(format!("{name:?}: an agent has a node, and nobody else has one"));
    }
    if let Some(node) = node
        && let Some(other) = machines.iter().find(|one| one.node.as_ref() == Some(node))
    {
        return Err(format!(
            "the node {node} is that of {:?} already: revoke it, or give the new one another --node",
            other.name
        ));
    }
    Ok(())
}

/// Takes these out, or says why not.
pub(super) fn revoke(machines: &mut Vec<Machine>, names: &[String]) -> Result<(), String> {
    for name in names {
        let at = machines.iter().position(|one| one.name == *name);
        let one = machines.remove(at.ok_or_else(|| format!("there is no machine {name:?}"))?);
        if one.duty == Duty::Broker {
            return Err(format!("{name:?} is the broker itself, which could let nobody in or out any more"));
        }
        if one.duty == Duty::Operator && !machines.iter().any(|one| one.duty == Duty::Operator) {
            return Err(format!(
                "{name:?} is the last operator, and nobody could look after this mesh any more: let another in first"
            ));
        }
    }
    Ok(())
}
