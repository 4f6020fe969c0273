// @ts-nocheck: this runs in the page, bundled with JsSIP.
// One JsSIP phone, driven through window.phone; what happens to it is told
// through window.told(event, detail), which the driver installs.
import JsSIP from 'jssip';

let ua;
let calls = [];
let subscriptions = [];
let audio;
let voice;
let codecs = {}; // by medium; all where there are none
let eye; // asks for whole pictures
const ears = new Map();
const tapes = new Map();
const lastStats = new Map();

/** A tape records at a third of the rate, for this long. */
const tapeRate = 16000, tapeTime = 30;

const recorder = `registerProcessor('recorder', class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
})`;

/** Speaks a pure tone, whatever the machine has for a microphone. */
async function speak(hz) {
  audio = new AudioContext({ sampleRate: 48000 });
  await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([recorder], { type: 'text/javascript' })));
  const tone = new OscillatorNode(audio, { frequency: hz });
  const level = new GainNode(audio, { gain: 0.3 });
  const to = new MediaStreamAudioDestinationNode(audio);
  tone.connect(level).connect(to);
  tone.start();
  voice = to.stream;
}

/** Puts an ear to what a call brings. Chromium decodes only what is also played. */
function listen(n, pc) {
  pc.addEventListener('track', ({ track, receiver }) => {
    if (track.kind !== 'audio') {
      eye = new Worker(URL.createObjectURL(new Blob([looking], { type: 'text/javascript' })));
      receiver.transform = new RTCRtpScriptTransform(eye);
      const screen = document.body.appendChild(document.createElement('video'));
      screen.muted = true;
      screen.srcObject = new MediaStream([track]);
      screen.play().catch((e) => window.told('nosight', { call: n, detail: String(e) }));
      return;
    }
    const stream = new MediaStream([track]);
    const player = new Audio();
    player.srcObject = stream;
    player.play().catch((e) => window.told('nosound', { call: n, detail: String(e) }));
    const ear = new AnalyserNode(audio, { fftSize: 16384, smoothingTimeConstant: 0 });
    const source = new MediaStreamAudioSourceNode(audio, { mediaStream: stream });
    source.connect(ear);
    ears.set(n, ear);
    tapes.set(n, record(source));
  });
}

/** Records what a source brings, from its first sound on. */
function record(source) {
  const tape = { samples: new Int16Array(tapeRate * tapeTime), length: 0, rest: [] };
  const node = new AudioWorkletNode(audio, 'recorder');
  node.port.onmessage = ({ data }) => {
    const all = [...tape.rest, ...data];
    let at = 0;
    for (; at + 3 <= all.length && tape.length < tape.samples.length; at += 3) {
      const sample = Math.round((all[at] + all[at + 1] + all[at + 2]) / 3 * 32767);
      if (tape.length > 0 || Math.abs(sample) > 8) tape.samples[tape.length++] = sample;
    }
    tape.rest = all.slice(at, at + 2);
  };
  // Only what leads somewhere is worked on.
  source.connect(node).connect(new GainNode(audio, { gain: 0 })).connect(audio.destination);
  return tape;
}

/** What a call's tape holds: little-endian samples in base64. */
function taped(n) {
  const tape = tapes.get(n);
  if (!tape) return { rate: tapeRate, samples: '' };
  const bytes = new Uint8Array(tape.samples.buffer, 0, 2 * tape.length);
  let text = '';
  for (const b of bytes) text += String.fromCharCode(b);
  return { rate: tapeRate, samples: btoa(text) };
}

/** What a call's ear holds now: the samples of the last third of a second. */
function hear(n) {
  const ear = ears.get(n);
  if (!ear) return [];
  const samples = new Float32Array(ear.fftSize);
  ear.getFloatTimeDomainData(samples);
  return Array.from(samples, (x) => Math.round(x * 32767));
}

/** The stats of a call, or the last ones it had. */
async function stats(n) {
  const pc = calls[n - 1].connection;
  if (pc && pc.connectionState !== 'closed') {
    const now = await examine(pc);
    if (pc.connectionState !== 'closed') lastStats.set(n, now); // closed ones tell nothing
  }
  return lastStats.get(n);
}

/** What getStats tells of a connection's transport and of the audio on it. */
async function examine(pc) {
  const all = [...(await pc.getStats()).values()];
  const one = (type, fits = () => true) => all.find((s) => s.type === type && fits(s)) ?? {};
  const t = one('transport');
  const pair = one('candidate-pair', (s) => s.id === t.selectedCandidatePairId);
  const remote = one('remote-candidate', (s) => s.id === pair.remoteCandidateId);
  const received = one('inbound-rtp', (s) => s.kind === 'audio');
  const sent = one('outbound-rtp', (s) => s.kind === 'audio');
  const codec = (stream) => one('codec', (s) => s.id === stream.codecId).mimeType ?? '';
  return {
    srtp: t.srtpCipher ?? '', dtls: t.dtlsState ?? '', remote: `${remote.candidateType} ${remote.address}`,
    candidates: all.filter((s) => s.type === 'remote-candidate').length, received: received.packetsReceived ?? 0, lost: received.packetsLost ?? 0, sent: sent.packetsSent ?? 0,
    hears: codec(received), speaks: codec(sent),
  };
}

const direction = (sdp) => sdp?.match(/^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m)?.[1] ?? 'sendrecv';

/** A description whose streams are in the given codecs, and audio in digits. */
function confine(sdp) {
  return sdp.split(/(?=^m=)/m).map((section) => {
    const only = codecs[section.match(/^m=(\w+)/)?.[1]];
    if (!only) return section;
    const wanted = [...only, 'telephone-event'].map((c) => c.toLowerCase());
    const kept = [...section.matchAll(/^a=rtpmap:(\d+) ([^/]+)/gm)].filter(([, , name]) => wanted.includes(name.toLowerCase())).map(([, pt]) => pt);
    return section.split('\r\n').filter((line) => {
      const pt = line.match(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /)?.[1];
      return !pt || kept.includes(pt);
    }).join('\r\n').replace(/^(m=\w+ \d+ \S+).*/, `$1 ${kept.join(' ')}`);
  }).join('');
}

/** Passes pictures on, and asks for a whole one when it is told to. */
const looking = `onrtctransform = ({ transformer }) => {
  transformer.readable.pipeTo(transformer.writable);
  onmessage = () => transformer.sendKeyFrameRequest();
}`;

/** What getStats tells of a call's pictures. */
async function pictures(pc) {
  const all = [...(await pc.getStats()).values()];
  const of = (type) => all.find((s) => s.type === type && s.kind === 'video') ?? {};
  const received = of('inbound-rtp'), sent = of('outbound-rtp');
  return {
    codec: all.find((s) => s.id === received.codecId)?.mimeType ?? '', decoded: received.framesDecoded ?? 0, keys: received.keyFramesDecoded ?? 0, asked: received.pliCount ?? 0,
    size: `${received.frameWidth}x${received.frameHeight}`, sentSize: `${sent.frameWidth}x${sent.frameHeight}`, wasAsked: sent.pliCount ?? 0, sentKeys: sent.keyFramesEncoded ?? 0,
  };
}

function watch(session, own) {
  const n = calls.push(session);
  const tell = (event, detail = '') => window.told(event, { call: n, detail: String(detail) });
  if (session.connection) listen(n, session.connection);
  else session.on('peerconnection', ({ peerconnection }) => listen(n, peerconnection));
  session.on('progress', (e) => tell('progress', e.response?.status_code ?? ''));
  session.on('accepted', () => tell('accepted'));
  session.on('confirmed', () => {
    const timer = setInterval(() => session.isEnded() ? clearInterval(timer) : stats(n), 1000);
    tell('confirmed');
  });
  session.on('ended', (e) => tell('ended', `${e.originator} ${e.cause}`));
  session.on('failed', (e) => tell('failed', `${e.originator} ${e.message?.status_code ?? ''} ${e.cause}`));
  session.on('hold', (e) => tell('hold', e.originator));
  session.on('unhold', (e) => tell('unhold', e.originator));
  session.on('sdp', (e) => {
    // Only offers: an answer chooses, or could not be other than it is.
    if (e.type === 'offer') e.sdp = confine(e.sdp);
    tell('sdp', `${e.originator} ${e.type} ${direction(e.sdp)}`);
  });
  session.on('getusermediafailed', (e) => tell('nomedia', e));
  session.on('peerconnection:createofferfailed', (e) => tell('nomedia', e));
  if (!own) tell('incoming', session.remote_identity.uri.user);
}

const options = () => ({ mediaStream: voice, mediaConstraints: { audio: true, video: voice.getVideoTracks().length > 0 }, pcConfig: { iceServers: [], rtcpMuxPolicy: 'require' } });

/** Ends when the new offer is answered; a session that is not ready says so. */
const offered = (change) => new Promise((done, fail) => {
  if (!change(done)) fail(new Error('not ready for an offer'));
});

window.phone = {
  async start({ url, uri, authorization, password, tone, codecs: only, camera }) {
    codecs = only ?? {};
    await speak(tone);
    // What Chromium shows for a camera: a clock and a moving disc.
    if (camera) for (const track of (await navigator.mediaDevices.getUserMedia({ video: camera })).getTracks()) voice.addTrack(track);
    ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(url)], uri, authorization_user: authorization, password, register: true, session_timers: false, connection_recovery_max_interval: 2 });
    ua.on('connected', () => window.told('connected', {}));
    ua.on('disconnected', (e) => window.told('disconnected', { detail: String(e.code ?? '') }));
    ua.on('registered', () => window.told('registered', {}));
    ua.on('unregistered', () => window.told('unregistered', {}));
    ua.on('registrationFailed', (e) => window.told('registrationFailed', { detail: `${e.response?.status_code ?? ''} ${e.cause}` }));
    ua.on('newRTCSession', ({ session, originator }) => watch(session, originator === 'local'));
    ua.on('newMessage', ({ originator, request }) => originator === 'remote' && window.told('message', { detail: request.body }));
    ua.start();
  },
  stop() { ua.stop(); },
  call({ to }) { ua.call(to, options()); },
  answer({ call }) { calls[call - 1].answer(options()); },
  reject({ call, code }) { calls[call - 1].terminate({ status_code: code }); },
  hangUp({ call }) { calls[call - 1].terminate(); },
  hold({ call }) { return offered((done) => calls[call - 1].hold({}, done)); },
  unhold({ call }) { return offered((done) => calls[call - 1].unhold({}, done)); },
  refer({ call, to, replaces }) {
    const on = (event) => (e) => window.told(event, { call, detail: String(e.status_line?.status_code ?? e.message?.status_code ?? '') });
    calls[call - 1].refer(to, {
      replaces: replaces ? calls[replaces - 1] : undefined,
      eventHandlers: { requestSucceeded: on('referred'), requestFailed: on('referFailed'), accepted: on('transferred'), failed: on('transferFailed') },
    });
  },
  /** Digits as telephone-events (RFC 4733), a while apart. */
  dial({ call, digits }) {
    const [sender] = calls[call - 1].connection.getSenders().filter((s) => s.dtmf);
    sender.dtmf.insertDTMF(digits, 100, 150);
  },
  prefer(only) { codecs = only; },
  encodes() { return RTCRtpSender.getCapabilities('video').codecs.map((c) => c.mimeType); },
  pictures({ call }) { return pictures(calls[call - 1].connection); },
  wholePicture() { eye.postMessage(''); },
  hear({ call }) { return hear(call); },
  taped({ call }) { return taped(call); },
  stats({ call }) { return stats(call); },
  message({ to, text }) {
    ua.sendMessage(to, text, { eventHandlers: { succeeded: () => window.told('messageSent', {}), failed: (e) => window.told('messageFailed', { detail: `${e.response?.status_code ?? e.cause}` }) } });
  },
  options({ to }) {
    ua.sendOptions(to, undefined, { eventHandlers: { succeeded: (e) => window.told('optionsAnswered', { detail: String(e.response.status_code) }), failed: (e) => window.told('optionsAnswered', { detail: String(e.response?.status_code ?? e.cause) }) } });
  },
  subscribe({ to, event, accept }) {
    const s = ua.subscribe(to, event, accept, { expires: 600 });
    const n = subscriptions.push(s);
    s.on('notify', (final, request, body) => window.told('notify', { call: n, detail: body ?? '' }));
    s.on('terminated', (code, reason) => window.told('subscriptionEnded', { call: n, detail: `${code} ${reason ?? ''}` }));
    s.subscribe();
  },
  unsubscribe({ call }) { subscriptions[call - 1].terminate(); },
};
