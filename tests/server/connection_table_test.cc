#include "server/listen/connection_table.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/listen/peer.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ConnectionTableTest : public testing::Test {
 protected:
  void Make(const ConnectionLimits& limits) { table = std::make_unique<ConnectionTable>(limits); }
  // False: it is turned away.
  bool Enter(const std::string& name, const std::string& address) {
    entries[name] = table->Enter(address, [this, name] { closed.push_back(name); });
    return entries[name] != nullptr;
  }

  std::unique_ptr<ConnectionTable> table;
  std::map<std::string, std::unique_ptr<ConnectionTable::Entry>> entries;
  std::vector<std::string> closed;
};

TEST_F(ConnectionTableTest, TheLongestIdleOneIsClosedForAnother) {
  Make({.all = 3});
  for (const std::string name : {"a", "b", "c"}) EXPECT_TRUE(Enter(name, "1.1.1.1"));
  EXPECT_THAT(closed, IsEmpty());
  entries["a"]->SetBusy(true);
  EXPECT_TRUE(Enter("d", "2.2.2.2"));
  EXPECT_THAT(closed, ElementsAre("b"));
  // a is idle for a shorter time than c now.
  entries["a"]->SetBusy(false);
  EXPECT_TRUE(Enter("e", "2.2.2.2"));
  EXPECT_TRUE(Enter("f", "2.2.2.2"));
  EXPECT_THAT(closed, ElementsAre("b", "c", "d"));
  EXPECT_EQ(table->counts().open, 3);
  EXPECT_EQ(table->counts().closed, 3u);
}

TEST_F(ConnectionTableTest, WhereNoneIsIdleTheNewOneIsTurnedAway) {
  Make({.all = 2});
  for (const std::string name : {"a", "b"}) {
    EXPECT_TRUE(Enter(name, "1.1.1.1"));
    entries[name]->SetBusy(true);
  }
  EXPECT_FALSE(Enter("c", "2.2.2.2"));
  EXPECT_EQ(table->counts().turned_away, 1u);
  EXPECT_EQ(table->counts().open, 2);
  entries["b"].reset();
  EXPECT_TRUE(Enter("c", "2.2.2.2"));
  EXPECT_THAT(closed, IsEmpty());
}

TEST_F(ConnectionTableTest, AnAddressTakesOnlyFromItself) {
  Make({.all = 10, .by_address = 2});
  EXPECT_TRUE(Enter("other", "2.2.2.2"));
  for (const std::string name : {"a", "b", "c"}) EXPECT_TRUE(Enter(name, "1.1.1.1"));
  EXPECT_THAT(closed, ElementsAre("a"));
  entries["b"]->SetBusy(true);
  entries["c"]->SetBusy(true);
  EXPECT_FALSE(Enter("d", "1.1.1.1"));
  EXPECT_TRUE(Enter("another", "3.3.3.3"));
  // Those without an address have no limit of their own.
  for (const std::string name : {"x", "y", "z"}) EXPECT_TRUE(Enter(name, ""));
  EXPECT_THAT(closed, ElementsAre("a"));
}

TEST_F(ConnectionTableTest, OneThatIsBeingClosedIsChosenOnceAndCountsNoMore) {
  Make({.all = 1});
  EXPECT_TRUE(Enter("a", "1.1.1.1"));
  EXPECT_TRUE(Enter("b", "1.1.1.1"));
  entries["a"]->SetBusy(true);
  entries["a"]->SetBusy(false);
  EXPECT_TRUE(Enter("c", "1.1.1.1"));
  EXPECT_THAT(closed, ElementsAre("a", "b"));
  entries["a"].reset();
  EXPECT_EQ(table->counts().open, 1);
}

TEST_F(ConnectionTableTest, AnEntryMayOutliveTheTable) {
  Make({});
  EXPECT_TRUE(Enter("a", "1.1.1.1"));
  table.reset();
  entries["a"]->SetBusy(true);
  entries.clear();
}

// A connection over the loopback interface; its peer as the accepting end sees it.
Peer PeerOver(int family, const std::string& address) {
  sockaddr_storage at = {};
  at.ss_family = static_cast<sa_family_t>(family);
  void* host = family == AF_INET ? static_cast<void*>(&reinterpret_cast<sockaddr_in&>(at).sin_addr)
                                 : static_cast<void*>(&reinterpret_cast<sockaddr_in6&>(at).sin6_addr);
  EXPECT_EQ(inet_pton(family, address.c_str(), host), 1);
  socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  const int listener = socket(family, SOCK_STREAM, 0), client = socket(family, SOCK_STREAM, 0);
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&at), size), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size), 0);
  EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&at), size), 0);
  const int accepted = accept(listener, nullptr, nullptr);
  Peer peer = PeerOf(accepted);
  for (const int socket : {listener, client, accepted}) close(socket);
  return peer;
}

TEST(Peer, HasANameAsGrpcGivesIt) {
  const Peer v4 = PeerOver(AF_INET, "127.0.0.1");
  EXPECT_EQ(v4.address, "127.0.0.1");
  EXPECT_THAT(v4.name, testing::MatchesRegex("ipv4:127.0.0.1:[0-9]+"));
  EXPECT_EQ(PeerNameOf(v4.name), v4.name);
  EXPECT_EQ(PeerNameOf("ipv6:%5B2001:db8::1%5D:80"), "ipv6:[2001:db8::1]:80");
  EXPECT_EQ(PeerNameOf("ipv6:%5Bfe80::1%25eth0%5D:80"), "ipv6:[fe80::1]:80");
  EXPECT_EQ(PeerNameOf("ipv6:[fe80::1%251]:80"), "ipv6:[fe80::1]:80");
  int pair[2] = {};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(PeerOf(pair[0]).name, "");
  for (const int socket : pair) close(socket);
  EXPECT_EQ(PeerOf(-1).address, "");
}

TEST(Peer, OfIpv6CountsAsItsNetwork) {
  const int probe = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 loopback = {};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool there = probe >= 0 && bind(probe, reinterpret_cast<sockaddr*>(&loopback), sizeof(loopback)) == 0;
  if (probe >= 0) close(probe);
  if (!there) GTEST_SKIP() << "this machine has no IPv6";
  const Peer v6 = PeerOver(AF_INET6, "::1");
  EXPECT_EQ(v6.address, "::");
  EXPECT_THAT(v6.name, testing::MatchesRegex("ipv6:.::1.:[0-9]+"));
}

}  // namespace
}  // namespace longtake::server
