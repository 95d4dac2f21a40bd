//! UDP: datagrams in and out of a listener, and the sessions between.
