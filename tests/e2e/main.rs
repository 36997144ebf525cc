//! End to end: the real daemon, the real plugins, real processes, seen from outside.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod api;
mod assessment;
mod attacks;
mod authors;
mod aws;
mod aws_account;
mod azure;
mod budgets;
mod canary;
mod clients;
mod commands;
mod conformance;
mod constraints;
mod containers;
mod crash;
mod decisions;
mod dev;
mod docker;
mod everywhere;
mod faults;
mod files;
mod fixture;
mod gcp;
mod golden;
mod health;
mod hedge;
mod history;
mod identity;
mod images;
mod jobs;
mod kubernetes;
mod lists;
mod operations;
mod order;
mod output;
mod package;
mod pages;
mod place;
mod placing;
mod plans;
mod policies;
mod price;
mod processes;
mod ready;
mod reload;
mod replacement;
mod resilience;
mod restart;
mod rollout;
mod scale;
mod secrets;
mod services;
mod sessions;
mod shadow;
mod shop;
mod simulate;
mod storage;
mod tables;
mod updates;
mod upgrade;
mod watch;
