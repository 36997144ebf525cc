//! Limits of grants, tried without a cluster.
