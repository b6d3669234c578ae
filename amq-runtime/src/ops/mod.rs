pub(crate) mod recurrent;
