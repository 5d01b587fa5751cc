//! ays-sdk
