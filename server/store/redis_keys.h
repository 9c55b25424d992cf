// The keys in Redis of servers that share a store. Scripts build some of them, so there is one node and no cluster.
#ifndef LONGTAKE_SERVER_STORE_REDIS_KEYS_H_
#define LONGTAKE_SERVER_STORE_REDIS_KEYS_H_

namespace longtake::server {

// {server}: a server's addresses, with a space between; the key ends with its lease.
inline constexpr char kServerKey[] = "longtake:server:";
// Sorted set of servers, by the millisecond in which their leases end.
inline constexpr char kServersKey[] = "longtake:servers";
// {video}: a hash: owner (a server), token, tenant.
inline constexpr char kVideoKey[] = "longtake:video:";
// Set of videos that are being made, or should be, or have ended and are not in the store as a whole.
inline constexpr char kUnfinishedKey[] = "longtake:unfinished";
// The last token.
inline constexpr char kTokenKey[] = "longtake:token";
// {tenant}: sorted set of its videos, by the microsecond of their creation.
inline constexpr char kVideosKey[] = "longtake:videos:";
// {n}:{tenant}:{request id}: a video; n is the length of the tenant's name.
inline constexpr char kRequestKey[] = "longtake:request:";
// The server that does what one does for all.
inline constexpr char kLeaderKey[] = "longtake:leader";
// {tenant}: set of its videos that are being made.
inline constexpr char kMakingKey[] = "longtake:making:";
// {hour}:{tenant}: a hash: device seconds, by server.
inline constexpr char kUsedKey[] = "longtake:used:";
// {tenant}: number of calls.
inline constexpr char kCallsKey[] = "longtake:calls:";

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_REDIS_KEYS_H_
