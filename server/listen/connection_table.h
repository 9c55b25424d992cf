// How many connections are open, from where they come, and which of them are idle.
#ifndef LONGTAKE_SERVER_LISTEN_CONNECTION_TABLE_H_
#define LONGTAKE_SERVER_LISTEN_CONNECTION_TABLE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace longtake::server {

struct ConnectionLimits {
  int all = 10'000;
  int by_address = 0;  // of one address; 0: no fewer than all
};

// Where no more connections may be open, a new one takes the place of the one that has been idle for longest.
// Thread-safe.
class ConnectionTable {
 public:
  struct Counts {
    int open = 0;
    uint64_t closed = 0;       // idle ones, for others
    uint64_t turned_away = 0;  // for want of an idle one
  };

  // An open connection, which counts until this is destroyed. It may outlive the table.
  class Entry {
   public:
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    // It is idle at first, and when nothing is under way on it.
    void SetBusy(bool busy);

   private:
    friend class ConnectionTable;
    struct State;
    explicit Entry(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };

  explicit ConnectionTable(const ConnectionLimits& limits);
  ~ConnectionTable();

  // A connection has come from this address, which is empty where there is none, as with unix:. Null: turn it away. The
  // thread that accepts connections calls it, and is held up for a moment where another one is closed.
  // `close` ends it, unless it is busy by then: called once at most, from any thread and without a lock, also a moment
  // after its entry has gone.
  std::unique_ptr<Entry> Enter(const std::string& address, std::function<void()> close);

  Counts counts() const;

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_LISTEN_CONNECTION_TABLE_H_
