//! Bitcoin node client: retries, circuit breaker and a reorg-following block stream
