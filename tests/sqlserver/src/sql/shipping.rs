//! Log shipping's procedures.

use super::batch::{Batch, Host};
use super::procedure::Call;
use crate::answer::Answer;
use crate::world::SqlError;

pub fn call(_batch: &Batch, _host: &mut Host<'_>, _call: &Call) -> Result<Option<Vec<Answer>>, SqlError> {
    Ok(None)
}
