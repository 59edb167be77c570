/* The site's search runs in a worker, which browsers refuse to pages that are opened as files. There, and only there, a
   hidden frame takes the worker's place: it loads the same script and passes the same messages. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inner = (this.inner = frame.contentWindow)
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...scripts) =>
        scripts.reduce((before, src) => before.then(() => this.load(src)), Promise.resolve())
      this.load(script).then(() => {
        this.ready = true
        this.waiting.splice(0).forEach(data => this.send(data))
      })
    }

    load(src) {
      return new Promise((resolve, reject) => {
        const element = this.inner.document.createElement("script")
        Object.assign(element, { src, onload: resolve, onerror: reject })
        this.inner.document.body.appendChild(element)
      })
    }

    send(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
    }

    postMessage(data) {
      this.ready ? this.send(data) : this.waiting.push(data)
    }

    terminate() {
      this.inner.frameElement.remove()
    }
  }
}
