//! Bridge contract: bindings and the genesis predeploy
