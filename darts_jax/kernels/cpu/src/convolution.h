// Dense convolution: from the image, back to the image, and by the kernel.
//
// A row of output pixels is a sum of matrix products, one for each tap; where the taps
// are three by three neighbours, tiles take fewer.
#pragma once

#include <optional>

#include "parallel.h"
#include "products.h"
#include "winograd.h"
#include "window.h"

namespace darts {

// Pixels that a call of its own computes, where there are no rows to heed.
constexpr int64_t kPixels = 1024;

constexpr int64_t kTiledChannels = 32;

// 1x1 kernels: one product of all pixels.
template <class T, int V>
void pointwise(xla::ffi::ThreadPool& pool, const T* x, const T* matrix, int64_t pixels,
               int64_t from, int64_t to, int64_t padded, T* result) {
  parallel_for(pool, (pixels + kPixels - 1) / kPixels, [&](int64_t i) {
    const int64_t begin = i * kPixels, count = std::min(kPixels, pixels - begin);
    const Product<T> product{x + begin * from, matrix};
    product_row<T, V>({&product, 1, from, from, padded, result + begin * to, to, to},
                      count);
  });
}

// What a convolution reads and writes along both axes.
struct Course {
  std::vector<Phase> down, across;
  int64_t height, width;  // of what is read
  int64_t rows, columns;  // of what is written
  int64_t taps_down, taps_across;
  bool backward;

  int64_t taps() const { return taps_down * taps_across; }
  int64_t outputs() const { return rows * columns; }
  bool pointwise() const { return taps() == 1 && height == rows && width == columns; }

  static Course forward(const Window& w) {
    return {forward_phases(w.down), forward_phases(w.across), w.down.image, w.across.image,
            w.down.output, w.across.output, w.down.kernel, w.across.kernel, false};
  }
  static Course back(const Window& w) {
    return {backward_phases(w.down), backward_phases(w.across), w.down.output,
            w.across.output, w.down.image, w.across.image, w.down.kernel,
            w.across.kernel, true};
  }

  // How tiles lie, where taps and channels are such that they are the faster way: their
  // transforms cost the more beside products the fewer channels there are.
  std::optional<Tiling> tiling(int64_t from, int64_t to) const {
    if (std::min(from, to) < kTiledChannels || down.size() != 1 || across.size() != 1)
      return std::nullopt;
    const Tap *top = first_of_three(down[0]), *left = first_of_three(across[0]);
    if (!top || !left) return std::nullopt;
    return Tiling{rows, columns, top->offset, left->offset};
  }

  // Rows of an image for the taps to read, whose pixels are read at the stride.
  template <class T>
  Rows<T> rows_of(int64_t channels) const {
    const int64_t held = std::max(rows_held(down), kSide);  // a tile's rows
    return Rows<T>(height, width, channels, Margin(across, width), 1, held, channels);
  }
};

// A convolution's results of images, by kernels [edge, *taps, in, out].
template <class T, int V>
class DenseMap {
 public:
  // from, to: channels read and written.
  DenseMap(const Course& course, int64_t from, int64_t to)
      : course_(course),
        tiling_(course.tiling(from, to)),
        from_(from),
        to_(to),
        padded_(round_up(to, V)) {}

  int64_t padded() const { return padded_; }
  Rows<T> rows() const { return course_.template rows_of<T>(from_); }

  // Kernels in the form that images are multiplied by.
  Buffer<T> matrices(xla::ffi::ThreadPool& pool, const T* kernels, int64_t edges) const {
    Buffer<T> by_tap =
        packed(pool, kernels, edges * course_.taps(), from_, to_, course_.backward, padded_);
    if (!tiling_) return by_tap;
    Buffer<T> by_place(edges * size(), false);
    const int64_t each = from_ * padded_;
    parallel_for(pool, edges, [&](int64_t e) {
      taps_to_places(by_tap.get() + e * course_.taps() * each, each, course_.backward,
                     by_place.get() + e * size());
    });
    return by_place;
  }

  // Where those of an edge begin.
  const T* of_edge(const Buffer<T>& matrices, int64_t edge) const {
    return matrices.get() + edge * size();
  }

  // One image of the result: the sum over what is seen.
  void image(const std::vector<Seen<T>>& all_seen, T* result) const {
    if (tiling_)
      return winograd_image<T, V>(*tiling_, all_seen, from_, padded_, result, to_);
    std::vector<Product<T>> products;
    for (const Phase& i : course_.down)
      for (int64_t r = 0; r < i.count; ++r)
        for (const Phase& j : course_.across) {
          find_products(all_seen, i, r, j, products);
          const int64_t row = i.origin + r * i.spacing;
          product_row<T, V>({products.data(), int64_t(products.size()), from_,
                             j.step * from_, padded_,
                             result + (row * course_.columns + j.origin) * to_, to_,
                             j.spacing * to_},
                            j.count);
        }
  }

 private:
  int64_t size() const { return (tiling_ ? kPlaces : course_.taps()) * from_ * padded_; }

  // Those of the r-th row of a phase down, of a phase across.
  void find_products(const std::vector<Seen<T>>& all_seen, const Phase& i, int64_t r,
                     const Phase& j, std::vector<Product<T>>& products) const {
    const int64_t each = from_ * padded_;
    const Tap* three = first_of_three(j);
    products.clear();
    for (const Seen<T>& seen : all_seen)
      for (const Tap& tap : i.taps) {
        const int64_t row = r * i.step + tap.offset;
        if (!seen.rows.inside(row)) continue;
        const T* data = seen.rows.row(row);
        const T* matrices = seen.matrices + tap.number * course_.taps_across * each;
        if (three) {
          const int64_t apart = (j.taps[1].number - three->number) * each;
          products.push_back({data + seen.rows.offset(three->offset),
                              matrices + three->number * each, apart});
          continue;
        }
        for (const Tap& beside : j.taps)
          products.push_back({data + seen.rows.offset(beside.offset),
                              matrices + beside.number * each});
      }
  }

  Course course_;
  std::optional<Tiling> tiling_;
  int64_t from_, to_, padded_;
};

// x [edge, batch, *side, from], kernel [edge, *taps, in, out].
template <class T>
void conv(xla::ffi::ThreadPool& pool, const T* x, const T* kernel, int64_t edges,
          int64_t batch, int64_t from, int64_t to, const Course& course,
          T* result) {
  with_lanes<T>(to, [&](auto lanes) {
    constexpr int V = lanes;
    const DenseMap<T, V> map(course, from, to);
    const Buffer<T> matrices = map.matrices(pool, kernel, edges);
    const int64_t seen = course.height * course.width * from;
    const int64_t made = course.rows * course.columns * to;
    const bool plain = course.pointwise();
    for (int64_t e = 0; plain && e < edges; ++e)
      pointwise<T, V>(pool, x + e * batch * seen, map.of_edge(matrices, e),
                      batch * seen / from, from, to, map.padded(),
                      result + e * batch * made);
    if (plain) return;
    const auto make = [&] { return map.rows(); };
    parallel_for(pool, edges * batch, make, [&](Rows<T>& rows, int64_t i) {
      rows.begin(x + i * seen);
      map.image({{rows, map.of_edge(matrices, i / batch)}}, result + i * made);
    });
  });
}

// The sums that a kernel's cotangent is, of pixels times what lies at the outputs.
template <class T, int V>
class DenseKernelSums {
 public:
  DenseKernelSums(const Window& window, int64_t from, int64_t to)
      : course_(Course::forward(window)),
        tiling_(course_.tiling(from, to)),
        from_(from),
        to_(to),
        padded_(round_up(to, V)) {}

  // Of an edge.
  int64_t size() const {
    return (tiling_ ? kPlaces : course_.taps()) * from_ * padded_;
  }
  Rows<T> rows() const { return course_.template rows_of<T>(from_); }
  // For outputs to be made as wide as vectors.
  Buffer<T> wide() const {
    return Buffer<T>((course_.pointwise() ? course_.outputs() : course_.columns) * padded_);
  }

  // Adds an image's part; numbers whose gate is not positive count as zeros.
  void add(Rows<T>& rows, const T* image, const T* gate, const T* y, Buffer<T>& wide,
           T* sums) const {
    if (course_.pointwise() && !gate) {
      const int64_t outputs = course_.outputs();
      return outer<T, V>(image, from_, from_, widened(y, outputs, to_, padded_, wide),
                         outputs, sums, padded_);
    }
    rows.begin(image, gate);
    if (tiling_)
      return winograd_kernel_image<T, V>(*tiling_, rows, y, from_, to_, sums, padded_);
    for (int64_t r = 0; r < course_.rows; ++r)
      add_row(rows, r, widened(y + r * course_.columns * to_, course_.columns, to_,
                               padded_, wide),
              sums);
  }

  // Of all edges, each in parts [edge, part, size] -> [edge, *taps, from, to].
  void finish(xla::ffi::ThreadPool& pool, const Buffer<T>& sums, int64_t edges,
              int64_t parts, T* result) const {
    const int64_t rows = course_.taps() * from_;
    parallel_for(pool, edges, [&](int64_t e) {
      T* sum = added_up(sums.get() + e * parts * size(), parts, size());
      if (tiling_) places_to_taps(sum, from_ * padded_, sum);
      narrow(sum, rows, to_, padded_, result + e * rows * to_);
    });
  }

 private:
  void add_row(Rows<T>& rows, int64_t r, const T* y, T* sums) const {
    const Phase &down = course_.down[0], &across = course_.across[0];
    for (const Tap& i : down.taps) {
      const int64_t row = r * down.step + i.offset;
      if (!rows.inside(row)) continue;
      const T* data = rows.row(row);
      for (const Tap& j : across.taps) {
        const int64_t tap = i.number * course_.taps_across + j.number;
        outer<T, V>(data + rows.offset(j.offset), from_, across.step * from_, y,
                    course_.columns, sums + tap * from_ * padded_, padded_);
      }
    }
  }

  Course course_;
  std::optional<Tiling> tiling_;
  int64_t from_, to_, padded_;
};

template <class T>
void conv_kernel(xla::ffi::ThreadPool& pool, const T* x, const T* y, int64_t edges,
                 int64_t batch, int64_t from, int64_t to, const Window& window,
                 T* result) {
  with_lanes<T>(to, [&](auto lanes) {
    const DenseKernelSums<T, lanes> kernel(window, from, to);
    const int64_t parts = std::min(batch, kParts);
    Buffer<T> sums(edges * parts * kernel.size());
    parallel_for(pool, edges * parts, [&](int64_t p) {
      const int64_t edge = p / parts, part = p % parts;
      Rows<T> rows = kernel.rows();
      Buffer<T> wide = kernel.wide();
      for (int64_t n = part * batch / parts; n < (part + 1) * batch / parts; ++n) {
        const int64_t image = edge * batch + n;
        kernel.add(rows, x + image * window.pixels() * from, nullptr,
                   y + image * window.outputs() * to, wide,
                   sums.get() + p * kernel.size());
      }
    });
    kernel.finish(pool, sums, edges, parts, result);
  });
}

}  // namespace darts
