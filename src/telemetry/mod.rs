//! Every metric declared once, logging, redaction, build information.
