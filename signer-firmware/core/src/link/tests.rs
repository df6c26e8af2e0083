mod attacks;
mod line;
mod pairing;
mod properties;
mod session;
