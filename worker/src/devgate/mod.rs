//! An Ingestion Gate for development: answers as the real one does, and misbehaves on demand.
