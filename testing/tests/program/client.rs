//! Commands that ask a mesh: status, top, ask, chat, models, drain and resume.
