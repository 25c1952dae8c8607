//! What a coordinator saw, as it is sent to another.

use baton_engine::sighting::{Connection, Seen};
use baton_proto::v1::{TriedConnection, tried_connection::Result as Tried};

use crate::probes::short;

pub fn to_wire(seen: Seen) -> TriedConnection {
    let (result, why) = match seen.connection {
        Connection::Made => (Tried::Made, String::new()),
        Connection::NotMade { why } => (Tried::NotMade, why),
        Connection::CannotTell { why } => (Tried::CannotTell, why),
    };
    TriedConnection { endpoint: seen.endpoint, result: result.into(), why }
}

/// A result that this version does not know proves nothing.
pub fn from_wire(tried: TriedConnection) -> Seen {
    let why = short(&tried.why);
    let connection = match tried.result() {
        Tried::Made => Connection::Made,
        Tried::NotMade => Connection::NotMade { why },
        Tried::CannotTell | Tried::Unspecified => Connection::CannotTell { why },
    };
    Seen { endpoint: tried.endpoint, connection }
}
