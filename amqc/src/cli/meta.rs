//! The flag that says what a file tells of its model.

use std::collections::BTreeMap;

use clap::Args;

use super::key_value;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct Meta {
    /// Tell this of the model in the file (repeatable): name=digits, version=1.2, license=MIT, or keys of your own
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    meta: Vec<(String, String)>,
}

impl Meta {
    /// What the file is to tell.
    pub(super) fn told(&self) -> Result<BTreeMap<String, String>> {
        let mut told = BTreeMap::new();
        for (key, value) in &self.meta {
            if told.insert(key.clone(), value.clone()).is_some() {
                return Err(Error::usage(format!("--meta {key} is given twice")));
            }
        }
        Ok(told)
    }
}
