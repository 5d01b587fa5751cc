//! ays-sdk-macros
