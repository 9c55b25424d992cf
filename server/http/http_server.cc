#include "server/http/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "common/worker_pool.h"
#include "server/http/connection.h"
#include "server/listen/acceptor.h"
#include "server/listen/peer.h"

namespace longtake::server {
namespace {

// Sockets take their bytes in microseconds, and two keep one that hands over megabytes from holding up the others.
constexpr int kThreads = 2;
// Handlers take microseconds, but for those that read a video from a disk.
constexpr int kWorkers = 4;
// After so long without a word the system asks a silent client whether it is there, and gives it up without an answer
// to the fourth question: 35 s, as gRPC's pings.
constexpr int kKeepIdle = 15, kKeepInterval = 5, kKeepCount = 4;

void KeepAlive(int descriptor) {
  const int one = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdle, sizeof(kKeepIdle));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepInterval, sizeof(kKeepInterval));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &kKeepCount, sizeof(kKeepCount));
}

}  // namespace

struct HttpServer::Impl {
  // Outlives the connections, of which one may be held by somebody who answers late.
  struct Registry {
    Mutex mutex;
    std::map<Connection*, std::weak_ptr<Connection>> connections ABSL_GUARDED_BY(mutex);
  };

  Impl(HttpHandler handler, const HttpLimits& limits, ConnectionTable* all, spdlog::logger* log)
      : logger(log), table(all) {
    shared.handler = std::move(handler);
    shared.limits = limits;
    shared.workers = &workers;
  }
  ~Impl() {
    if (acceptor != nullptr) acceptor->Stop();
    for (const std::shared_ptr<Connection>& connection : All()) connection->Close();
    // What is under way ends with an error; then nothing is left to do.
    work.reset();
    for (std::thread& thread : threads) thread.join();
  }

  void OnConnection(int descriptor);
  void Run();
  std::vector<std::shared_ptr<Connection>> All();

  spdlog::logger* const logger;
  ConnectionTable* const table;
  Connection::Shared shared;
  const std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  const std::shared_ptr<boost::asio::io_context> context = std::make_shared<boost::asio::io_context>(kThreads);
  // Here, so that what the system lacks for it is found at the start and not with the first connection.
  const boost::asio::steady_timer first_timer{*context};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context->get_executor()};
  WorkerPool workers{kWorkers};
  std::vector<std::thread> threads;
  std::unique_ptr<Acceptor> acceptor;
};

// A shortage of memory, or a defect, costs what was under way and not the process.
void HttpServer::Impl::Run() {
  while (true) {
    try {
      context->run();
      return;
    } catch (const std::exception& error) {
      logger->error("http: {}", error.what());
    }
  }
}

std::vector<std::shared_ptr<Connection>> HttpServer::Impl::All() {
  std::vector<std::shared_ptr<Connection>> all;
  const MutexLock lock(registry->mutex);
  for (const auto& [key, weak] : registry->connections) {
    if (std::shared_ptr<Connection> connection = weak.lock(); connection != nullptr) all.push_back(connection);
  }
  return all;
}

void HttpServer::Impl::OnConnection(int descriptor) {
  const auto gone = [registry = registry](Connection* connection) {
    const MutexLock lock(registry->mutex);
    registry->connections.erase(connection);
  };
  KeepAlive(descriptor);
  try {
    const std::string address = PeerOf(descriptor).address;
    const auto connection = std::make_shared<Connection>(context, descriptor, &shared, gone);
    {
      const MutexLock lock(registry->mutex);
      registry->connections[connection.get()] = connection;
    }
    std::unique_ptr<ConnectionTable::Entry> entry =
        table->Enter(address, [weak = std::weak_ptr<Connection>(connection)] {
          if (const std::shared_ptr<Connection> idle = weak.lock(); idle != nullptr) idle->CloseIfIdle();
        });
    if (entry != nullptr) connection->Run(std::move(entry));
  } catch (const std::exception& error) {
    logger->error("http: a connection cannot be served: {}", error.what());
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen, HttpHandler handler,
                                                              const HttpLimits& limits, ConnectionTable* table,
                                                              spdlog::logger* logger) {
  std::unique_ptr<Impl> impl;
  try {
    impl = std::make_unique<Impl>(std::move(handler), limits, table, logger);
  } catch (const std::exception& error) {
    return absl::UnavailableError(error.what());
  }
  absl::StatusOr<std::unique_ptr<Acceptor>> acceptor = Acceptor::Listen(listen, logger);
  if (!acceptor.ok()) return acceptor.status();
  impl->acceptor = *std::move(acceptor);
  for (int i = 0; i < kThreads; ++i) {
    absl::StatusOr<std::thread> thread = StartThread("http", [raw = impl.get()] { raw->Run(); });
    if (!thread.ok()) return thread.status();
    impl->threads.push_back(*std::move(thread));
  }
  absl::Status accepting = impl->acceptor->Start([raw = impl.get()](int descriptor) {
    raw->OnConnection(descriptor);
    return true;
  });
  if (!accepting.ok()) return accepting;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->acceptor->port(); }

}  // namespace longtake::server
