//! What the owner of a machine decides: hours, slots, models, a pause while others need the machine.
