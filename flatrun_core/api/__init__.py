"""HTTP: the request pipeline, error bodies, streams, the API document and the core's own routes."""
