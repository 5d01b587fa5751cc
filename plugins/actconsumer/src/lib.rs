//! actconsumer
