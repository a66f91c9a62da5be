//! Checkpoints in Postgres, in a profile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::duration::DurationText;
