//! The provider on a table that stands for the cluster.
