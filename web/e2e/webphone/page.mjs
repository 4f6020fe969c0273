// @ts-nocheck: this runs in the page, bundled with JsSIP.
// One JsSIP phone, driven through window.phone; what happens to it is told
// through window.told(event, detail), which the driver installs.
import JsSIP from 'jssip';

/**
 * A stand-in for the browser's media: descriptions in plain RTP that any phone
 * can answer, and no media. With it a call's signalling can be looked at while
 * the other side does not speak DTLS-SRTP.
 */
class Paper extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { signalingState: 'stable', iceGatheringState: 'complete', iceConnectionState: 'new', version: 0, flow: 'sendrecv' });
  }

  text(type) {
    const list = type === 'answer' ? '0' : '0 8 101';
    this.version += 1;
    return [
      'v=0', `o=- 4711 ${this.version} IN IP4 ${Paper.address}`, 's=-', `c=IN IP4 ${Paper.address}`, 't=0 0',
      `m=audio 40000 RTP/AVP ${list}`, 'a=rtpmap:0 PCMU/8000', ...(type === 'answer' ? [] : ['a=rtpmap:8 PCMA/8000', 'a=rtpmap:101 telephone-event/8000']),
      'a=sendrecv', '',
    ].join('\r\n');
  }

  async createOffer() { return { type: 'offer', sdp: this.text('offer') }; }
  async createAnswer() { return { type: 'answer', sdp: this.text('answer') }; }

  async setLocalDescription(d) {
    this.localDescription = d;
    this.signalingState = d.type === 'offer' ? 'have-local-offer' : 'stable';
  }

  async setRemoteDescription(d) {
    this.remoteDescription = d;
    this.signalingState = d.type === 'offer' ? 'have-remote-offer' : 'stable';
  }

  addTrack() {}
  getSenders() { return []; }
  getReceivers() { return []; }
  close() { this.signalingState = 'closed'; }
}

const real = window.RTCPeerConnection;
let ua;
let calls = [];
let subscriptions = [];

const direction = (sdp) => sdp?.match(/^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m)?.[1] ?? 'sendrecv';

function watch(session, own) {
  const n = calls.push(session);
  const tell = (event, detail = '') => window.told(event, { call: n, detail: String(detail) });
  session.on('progress', (e) => tell('progress', e.response?.status_code ?? ''));
  session.on('accepted', () => tell('accepted'));
  session.on('confirmed', () => tell('confirmed'));
  session.on('ended', (e) => tell('ended', `${e.originator} ${e.cause}`));
  session.on('failed', (e) => tell('failed', `${e.originator} ${e.message?.status_code ?? ''} ${e.cause}`));
  session.on('hold', (e) => tell('hold', e.originator));
  session.on('unhold', (e) => tell('unhold', e.originator));
  session.on('sdp', (e) => tell('sdp', `${e.originator} ${e.type} ${direction(e.sdp)}`));
  session.on('getusermediafailed', (e) => tell('nomedia', e));
  session.on('peerconnection:createofferfailed', (e) => tell('nomedia', e));
  if (!own) tell('incoming', session.remote_identity.uri.user);
}

const media = () => (window.RTCPeerConnection === Paper ? { mediaStream: new MediaStream() } : { mediaConstraints: { audio: true, video: false } });
const options = () => ({ ...media(), pcConfig: { iceServers: [], rtcpMuxPolicy: 'require' } });

/** Ends when the new offer is answered; a session that is not ready says so. */
const offered = (change) => new Promise((done, fail) => {
  if (!change(done)) fail(new Error('not ready for an offer'));
});

window.phone = {
  start({ url, uri, authorization, password, address, paper }) {
    window.RTCPeerConnection = paper ? Paper : real;
    Paper.address = address;
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
