mod dead_letters;
mod model_loki;
mod outcome;
mod parts;
mod sender;
mod server;
mod tls;
mod transport;
