#include "server/http/http_server.h"

#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "server/http/connection.h"
#include "server/listen/acceptor.h"

namespace longtake::server {
namespace {

// Sockets take their bytes in microseconds, and two keep one that hands over megabytes from holding up the others.
constexpr int kThreads = 2;

}  // namespace

struct HttpServer::Impl {
  // Outlives the connections, of which one may be held by somebody who answers late.
  struct Registry {
    Mutex mutex;
    std::map<Connection*, std::weak_ptr<Connection>> connections ABSL_GUARDED_BY(mutex);
  };

  Impl(HttpHandler given, const HttpLimits& limit) : handler(std::move(given)), limits(limit) {}
  ~Impl() {
    if (acceptor != nullptr) acceptor->Stop();
    for (const std::shared_ptr<Connection>& connection : All()) connection->Close();
    // What is under way ends with an error; then nothing is left to do.
    work.reset();
    for (std::thread& thread : threads) thread.join();
  }

  void OnConnection(int descriptor);
  std::vector<std::shared_ptr<Connection>> All();

  const HttpHandler handler;
  const HttpLimits limits;
  const std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  const std::shared_ptr<boost::asio::io_context> context = std::make_shared<boost::asio::io_context>(kThreads);
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context->get_executor()};
  std::vector<std::thread> threads;
  std::unique_ptr<Acceptor> acceptor;
};

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
  {
    const MutexLock lock(registry->mutex);
    if (static_cast<int>(registry->connections.size()) >= limits.connections) {
      close(descriptor);
      return;
    }
  }
  const auto connection = std::make_shared<Connection>(context, descriptor, &handler, &limits, gone);
  {
    const MutexLock lock(registry->mutex);
    registry->connections[connection.get()] = connection;
  }
  connection->Run();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen, HttpHandler handler,
                                                              const HttpLimits& limits, spdlog::logger* logger) {
  auto impl = std::make_unique<Impl>(std::move(handler), limits);
  absl::StatusOr<std::unique_ptr<Acceptor>> acceptor = Acceptor::Listen(listen, logger);
  if (!acceptor.ok()) return acceptor.status();
  impl->acceptor = *std::move(acceptor);
  for (int i = 0; i < kThreads; ++i) {
    absl::StatusOr<std::thread> thread = StartThread("http", [context = impl->context] { context->run(); });
    if (!thread.ok()) return thread.status();
    impl->threads.push_back(*std::move(thread));
  }
  absl::Status accepting = impl->acceptor->Start([raw = impl.get()](int descriptor) { raw->OnConnection(descriptor); });
  if (!accepting.ok()) return accepting;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->acceptor->port(); }

}  // namespace longtake::server
